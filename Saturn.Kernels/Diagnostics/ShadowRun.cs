using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Saturn.Kernels.Cpu;

namespace Saturn.Kernels.Diagnostics;

/// <summary>A kernel whose two runs differ.</summary>
public sealed class KernelMismatchException(string message) : Exception(message);

/// <summary>
/// Runs each kernel a second time, on the CPU with one worker and, where the first device is the CPU, tiles of the other vector width, and compares what both wrote. The buffers are copied before the first run, each between
/// guard zones of NaN: a kernel whose result depends on what lies there differs, and one that writes there is found too.
/// </summary>
internal sealed class ShadowRun(Device primary, double tolerance) : IDisposable
{
    private const int Guard = 256;

    private readonly CpuDevice device = new(1, wide: (primary.Kind == DeviceKind.Cpu) != Vector512.IsHardwareAccelerated);
    private readonly List<(DeviceBuffer Original, DeviceBuffer Block)> copies = [];

    /// <summary>Copies the call's buffers as they are before it.</summary>
    public void Prepare(KernelCall call)
    {
        foreach (DeviceBuffer original in Distinct([.. call.Reads, .. call.Writes.Select(written => written.Buffer)]))
        {
            byte[] bytes = new byte[original.ByteLength + 2 * Guard];
            bytes.AsSpan().Fill(0xFF);
            primary.Download(original, bytes.AsSpan(Guard, (int)original.ByteLength));
            DeviceBuffer block = device.Memory.Allocate(bytes.Length);
            device.Upload(bytes, block);
            copies.Add((original, block));
        }
    }

    /// <summary>Makes the call on the copies and compares.</summary>
    /// <exception cref="KernelMismatchException">The results differ, or the kernel wrote outside of its buffers.</exception>
    public void Compare(KernelCall call, KernelBody body)
    {
        try
        {
            body(device, At);
            double[]?[] results = [.. call.Writes.Select(written => written.Buffer.IsNone ? null : Read(device, At(written.Buffer), written.Kind))];
            double sharedScale = results.Where((result, i) => result is not null && call.Writes[i].Kind != ElementKind.Integer).Select(result => Largest(result!)).DefaultIfEmpty().Max();
            for (int i = 0; i < results.Length; i++)
            {
                if (results[i] is { } expected)
                {
                    bool exact = call.Writes[i].Kind == ElementKind.Integer
                        || (primary.Kind == DeviceKind.Cpu && !call.Name.StartsWith("convolution", StringComparison.Ordinal) && !call.Name.StartsWith("matrix", StringComparison.Ordinal));
                    double allowed = exact ? 0 : tolerance * (call.SharedScale ? sharedScale : Largest(expected));
                    Compare(call, i, Read(primary, call.Writes[i].Buffer, call.Writes[i].Kind), expected, allowed);
                }
            }

            CheckGuards(call);
        }
        finally
        {
            foreach (var (_, block) in copies)
            {
                device.Memory.Free(block);
            }

            copies.Clear();
        }
    }

    /// <summary>Closes the second device.</summary>
    public void Dispose() => device.Dispose();

    private void Compare(KernelCall call, int output, double[] actual, double[] expected, double allowed)
    {
        int differing = 0;
        int worst = -1;
        double largest = -1;
        for (int i = 0; i < actual.Length; i++)
        {
            double difference = Math.Abs(actual[i] - expected[i]);
            if (actual[i].Equals(expected[i]) || difference <= allowed)
            {
                continue;
            }

            differing++;
            if (double.IsNaN(difference) || difference > largest)
            {
                (worst, largest) = (i, double.IsNaN(difference) ? double.PositiveInfinity : difference);
            }
        }

        if (differing > 0)
        {
            throw new KernelMismatchException(string.Create(
                CultureInfo.InvariantCulture,
                $"{call.Name} on {primary.Name} differs from its second run on the CPU: output {output + 1} of {call.Writes.Length}, {differing} of {actual.Length} elements, the worst is element {worst} with {actual[worst]:G9} instead of {expected[worst]:G9} (a difference of {allowed:G3} is allowed). Sizes: {call.Sizes}."));
        }
    }

    private void CheckGuards(KernelCall call)
    {
        foreach (var (original, block) in copies)
        {
            byte[] bytes = new byte[block.ByteLength];
            device.Download(block, bytes);
            if (bytes.AsSpan(0, Guard).ContainsAnyExcept((byte)0xFF) || bytes.AsSpan(Guard + (int)original.ByteLength).ContainsAnyExcept((byte)0xFF))
            {
                throw new KernelMismatchException($"{call.Name} writes outside of a buffer of {original.ByteLength} bytes on the CPU. Sizes: {call.Sizes}.");
            }
        }
    }

    /// <summary>Where a buffer of the call, or a part of one, lies on the second device.</summary>
    private DeviceBuffer At(DeviceBuffer buffer)
    {
        foreach (var (original, block) in copies)
        {
            if (buffer.Address >= original.Address && buffer.Address + buffer.ByteLength <= original.Address + original.ByteLength)
            {
                return block.Slice(Guard + (buffer.Address - original.Address), buffer.ByteLength);
            }
        }

        return DeviceBuffer.None;
    }

    /// <summary>The ranges of memory that the buffers cover, overlapping ones as one.</summary>
    private static List<DeviceBuffer> Distinct(IEnumerable<DeviceBuffer> buffers)
    {
        List<DeviceBuffer> ranges = [];
        foreach (DeviceBuffer buffer in buffers.Where(buffer => !buffer.IsNone).OrderBy(buffer => buffer.Address))
        {
            if (ranges.Count > 0 && buffer.Address < ranges[^1].Address + ranges[^1].ByteLength)
            {
                ranges[^1] = ranges[^1] with { ByteLength = Math.Max(ranges[^1].ByteLength, buffer.Address + buffer.ByteLength - ranges[^1].Address) };
            }
            else
            {
                ranges.Add(buffer);
            }
        }

        return ranges;
    }

    private static double[] Read(Device device, DeviceBuffer buffer, ElementKind kind)
    {
        byte[] bytes = new byte[buffer.ByteLength];
        device.Download(buffer, bytes);
        return kind switch
        {
            ElementKind.Single => Array.ConvertAll(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), value => (double)value),
            ElementKind.Double => MemoryMarshal.Cast<byte, double>(bytes).ToArray(),
            _ => Array.ConvertAll(MemoryMarshal.Cast<byte, int>(bytes).ToArray(), value => (double)value),
        };
    }

    private static double Largest(double[] values) => values.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty().Max();
}
