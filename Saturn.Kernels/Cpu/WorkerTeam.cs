using System.Runtime.CompilerServices;

namespace Saturn.Kernels.Cpu;

/// <summary>
/// Persistent worker threads that share the items of one job at a time through an atomic counter. The calling thread takes part as worker 0 and waits only for workers that have joined the job: one that the
/// system is not running at the moment holds nobody up. Workers spin for a short while after a job, since the next kernel usually follows within microseconds, and then sleep.
/// </summary>
internal sealed unsafe class WorkerTeam : IDisposable
{
    private const int SpinRounds = 2000;
    private const long OneGeneration = 1L << 32;

    private readonly Thread[] threads;
    private readonly SemaphoreSlim[] wakeUps;
    private readonly int[] sleeping;
    private readonly Lock entry = new();

    private delegate*<void*, int, int, void> run;
    private void* job;
    private int count;
    private int next;

    // Upper half: the generation, odd while a job is open to join. Lower half: how many workers are inside.
    private long state;
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
            next = 0;
            Interlocked.Add(ref state, OneGeneration);
            for (int i = 0; i < threads.Length; i++)
            {
                if (Volatile.Read(ref sleeping[i]) == 1 && Interlocked.Exchange(ref sleeping[i], 0) == 1)
                {
                    wakeUps[i].Release();
                }
            }

            Drain(0);
            Interlocked.Add(ref state, OneGeneration);
            SpinWait wait = default;
            while ((uint)Volatile.Read(ref state) != 0)
            {
                wait.SpinOnce(-1);
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
        long seen = 0;
        int spins = 0;
        while (!stopping)
        {
            if (TryJoin(ref seen))
            {
                Drain(index + 1);
                Interlocked.Decrement(ref state);
                spins = 0;
            }
            else if (++spins < SpinRounds)
            {
                Thread.SpinWait(16);
            }
            else
            {
                Sleep(index, seen);
                spins = 0;
            }
        }
    }

    /// <summary>Enters the open job, if there is one that this worker has not been in.</summary>
    private bool TryJoin(ref long seen)
    {
        long now = Volatile.Read(ref state);
        long generation = now >> 32;
        if ((generation & 1) == 0 || generation == seen)
        {
            return false;
        }

        if (Interlocked.CompareExchange(ref state, now + 1, now) != now)
        {
            return false;
        }

        seen = generation;
        return true;
    }

    private void Sleep(int index, long seen)
    {
        Interlocked.Exchange(ref sleeping[index], 1);
        long generation = Interlocked.Read(ref state) >> 32;
        bool jobOpened = (generation & 1) == 1 && generation != seen;
        if (jobOpened && Interlocked.Exchange(ref sleeping[index], 0) == 1)
        {
            return;
        }

        wakeUps[index].Wait();
    }
}
