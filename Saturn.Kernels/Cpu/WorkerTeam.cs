using System.Runtime.CompilerServices;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// Persistent worker threads that share the items of one job at a time through an atomic counter. The calling thread takes part as worker 0. Workers
/// spin for a short while after a job, since the next kernel usually follows within microseconds, and then sleep.
/// </summary>
internal sealed unsafe class WorkerTeam : IDisposable
{
    private const int SpinRounds = 2000;

    private readonly Thread[] threads;
    private readonly SemaphoreSlim[] wakeUps;
    private readonly int[] sleeping;
    private readonly Lock entry = new();

    private delegate*<void*, int, int, void> run;
    private void* job;
    private int count;
    private int next;
    private int active;
    private volatile int generation;
    private volatile bool stopping;
    private Exception? failure;

    /// <summary>Starts a team.</summary>
    /// <param name="count">Workers, the caller included; at least 1.</param>
    public WorkerTeam(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        Count = count;
        threads = new Thread[count - 1];
        wakeUps = new SemaphoreSlim[count - 1];
        sleeping = new int[count - 1];
        for (int i = 0; i < threads.Length; i++)
        {
            int index = i;
            wakeUps[i] = new SemaphoreSlim(0);
            threads[i] = new Thread(() => Work(index), 1 << 20) { IsBackground = true, Name = $"Saturn worker {i + 1}" };
            threads[i].Start();
        }
    }

    /// <summary>Workers, the caller included.</summary>
    public int Count { get; }

    /// <summary>Runs items 0 … <paramref name="items"/> − 1 of a job and returns when all have finished. The job stays on the caller's stack.</summary>
    public void Run<TJob>(ref TJob job, int items)
        where TJob : struct, IParallelJob
    {
        if (items <= 0)
        {
            return;
        }

        if (items == 1 || threads.Length == 0)
        {
            for (int i = 0; i < items; i++)
            {
                job.Run(i, 0);
            }

            return;
        }

        lock (entry)
        {
            // The address stays valid: the struct lives in the caller's frame until this method returns, and every worker has left it by then.
            this.job = Unsafe.AsPointer(ref job);
            run = &Invoke<TJob>;
            count = items;
            failure = null;
            Volatile.Write(ref next, 0);
            Volatile.Write(ref active, threads.Length);
            Interlocked.Increment(ref generation);
            for (int i = 0; i < threads.Length; i++)
            {
                if (Interlocked.Exchange(ref sleeping[i], 0) == 1)
                {
                    wakeUps[i].Release();
                }
            }

            Drain(0);
            SpinWait wait = default;
            while (Volatile.Read(ref active) != 0)
            {
                if (wait.Count < 200)
                {
                    Thread.SpinWait(8);
                    wait.SpinOnce(-1);
                }
                else
                {
                    wait.SpinOnce(-1);
                }
            }

            this.job = null;
            if (failure is not null)
            {
                throw new AggregateException("A CPU kernel failed.", failure);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stopping = true;
        Interlocked.Increment(ref generation);
        for (int i = 0; i < threads.Length; i++)
        {
            wakeUps[i].Release();
            threads[i].Join();
            wakeUps[i].Dispose();
        }
    }

    private static void Invoke<TJob>(void* job, int item, int worker)
        where TJob : struct, IParallelJob => Unsafe.AsRef<TJob>(job).Run(item, worker);

    private void Drain(int worker)
    {
        int item;
        while ((item = Interlocked.Increment(ref next) - 1) < count)
        {
            try
            {
                run(job, item, worker);
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        }
    }

    private void Work(int index)
    {
        int seen = 0;
        while (true)
        {
            int spins = 0;
            while (generation == seen)
            {
                if (++spins < SpinRounds)
                {
                    Thread.SpinWait(16);
                    continue;
                }

                Volatile.Write(ref sleeping[index], 1);
                Interlocked.MemoryBarrier();
                if (generation != seen && Interlocked.Exchange(ref sleeping[index], 0) == 1)
                {
                    break;
                }

                wakeUps[index].Wait();
                spins = 0;
            }

            seen = generation;
            if (stopping)
            {
                return;
            }

            Drain(index + 1);
            Interlocked.Decrement(ref active);
        }
    }
}
