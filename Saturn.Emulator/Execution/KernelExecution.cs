using Saturn.Emulator.Memory;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Execution;

/// <summary>Runs a launch to its end: blocks are dealt out to workers, each of which runs one block after another.</summary>
internal static unsafe class KernelExecution
{
    /// <summary>Warp instructions of all launches in this process, for benches.</summary>
    public static long ExecutedInstructions => Volatile.Read(ref executedInstructions);

    private static long executedInstructions;

    /// <exception cref="EmulatorException">The kernel did something wrong; of several blocks that did, the first in the grid's order is reported.</exception>
    public static void Run(
        EmulatedKernel kernel, in LaunchGeometry geometry, ReadOnlySpan<byte> arguments, DeviceAllocations allocations, EmulatorOptions options)
    {
        if (arguments.Length != kernel.ArgumentBytes)
        {
            throw new EmulatorException($"Kernel {kernel.Name} takes {kernel.ArgumentBytes} bytes of arguments, but was given {arguments.Length}.", 1);
        }

        long blocks = (long)geometry.GridX * geometry.GridY * geometry.GridZ;
        int workers = (int)Math.Min(options.Workers ?? Environment.ProcessorCount, blocks);

        // Aligned as the argument structs may ask for (64 bytes for a tensor map).
        byte* storage = stackalloc byte[arguments.Length + 128];
        byte* copy = (byte*)(((nint)storage + 127) & ~127);
        arguments.CopyTo(new Span<byte>(copy, arguments.Length));
        Launch launch = new(kernel, geometry, copy, allocations, options, blocks);
        if (workers <= 1)
        {
            launch.Work();
        }
        else
        {
            Parallel.For(0, workers, new ParallelOptions { MaxDegreeOfParallelism = workers }, _ => launch.Work());
        }

        Interlocked.Add(ref executedInstructions, launch.Steps);
        options.Traffic?.AddInstructions(launch.Steps);
        launch.ThrowFailure();
    }

    private sealed class Launch(EmulatedKernel kernel, LaunchGeometry geometry, byte* arguments, DeviceAllocations allocations, EmulatorOptions options, long blocks)
    {
        private readonly Lock gate = new();
        private long next = -1;
        private long failedBlock = long.MaxValue;
        private EmulatorException? failure;
        private long steps;

        public long Steps => steps;

        public void Work()
        {
            using Block block = new(kernel, geometry, arguments, allocations, options.Checked, options.Traffic is not null);
            while (true)
            {
                long number = Interlocked.Increment(ref next);
                if (number >= blocks || number > Volatile.Read(ref failedBlock))
                {
                    break;
                }

                try
                {
                    block.Run((uint)(number % geometry.GridX), (uint)(number / geometry.GridX % geometry.GridY), (uint)(number / geometry.GridX / geometry.GridY));
                }
                catch (EmulatorException exception)
                {
                    lock (gate)
                    {
                        if (number < failedBlock)
                        {
                            failedBlock = number;
                            failure = exception;
                        }
                    }

                    break;
                }
            }

            Interlocked.Add(ref steps, block.Steps);
            if (options.Traffic is { } traffic)
            {
                kernel.AddTraffic(block.LaneCounts!, traffic);
                traffic.AddLoaded(block.Copies.LoadedBytes + block.CopiedBytes);
            }
        }

        public void ThrowFailure()
        {
            if (failure is not null)
            {
                throw failure;
            }
        }
    }
}
