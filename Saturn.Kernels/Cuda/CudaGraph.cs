namespace Saturn.Kernels.Cuda;

/// <summary>
/// Work as a CUDA graph. Its memory comes from a reserve of its own (<see cref="CudaMemory.Reserve"/>), or, with a driver that checks memory, from allocations inside the graph.
/// </summary>
internal sealed class CudaGraph(CudaContext context) : IRecordedWork
{
    private readonly ICudaDriver driver = context.Driver;
    private readonly CudaMemory.Reserve reserve = new();
    private readonly CudaIssueLog log = new(!context.Driver.ChecksMemory);
    private nint executable;
    private int buffersBefore;
    private bool isUnderWay;

    /// <inheritdoc/>
    public bool IsSteady { get; private set; }

    /// <inheritdoc/>
    public int Operations => log.Count;

    /// <inheritdoc/>
    public void Begin(bool record)
    {
        if (isUnderWay || (record && !IsSteady))
        {
            throw new InvalidOperationException("Work is recorded after it was issued and found steady, and one begin comes before one end.");
        }

        isUnderWay = true;
        buffersBefore = context.Memory.LiveBuffers;
        reserve.HasGrown = false;
        log.Begin();
        log.IsRecording = record;
        context.IssueLog = log;
        context.Memory.Enter(reserve);
        if (record)
        {
            context.MakeCurrent();
            driver.BeginCapture(context.Stream);
        }
    }

    /// <inheritdoc/>
    public void End()
    {
        Leave();
        int left = context.Memory.LiveBuffers - buffersBefore;
        IsSteady = !reserve.HasGrown && left == 0;
        if (!log.IsRecording)
        {
            return;
        }

        log.IsRecording = false;
        nint graph = driver.EndCapture(context.Stream);
        try
        {
            string? difference = reserve.HasGrown ? "it asks for more memory than before" : left != 0 ? $"it leaves {left} buffers behind" : log.Difference();
            if (difference is not null)
            {
                throw new NotRepeatableException(difference);
            }

            executable = driver.InstantiateGraph(graph);
        }
        finally
        {
            driver.DestroyGraph(graph);
        }
    }

    /// <inheritdoc/>
    public void Abandon()
    {
        if (!isUnderWay)
        {
            return;
        }

        Leave();
        if (log.IsRecording)
        {
            log.IsRecording = false;
            try
            {
                driver.DestroyGraph(driver.EndCapture(context.Stream));
            }
            catch (CudaException exception) when (!exception.IsSticky)
            {
                // A call that is not permitted has spoilt the recording, which has ended with this call all the same.
            }
        }
    }

    /// <inheritdoc/>
    public void Repeat()
    {
        if (executable == 0)
        {
            throw new InvalidOperationException("Nothing was recorded.");
        }

        context.MakeCurrent();
        driver.LaunchGraph(executable, context.Stream);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Abandon();
        if (executable != 0)
        {
            context.MakeCurrent();
            driver.DestroyExecutableGraph(executable);
            executable = 0;
        }

        context.Memory.Release(reserve);
    }

    private void Leave()
    {
        isUnderWay = false;
        context.IssueLog = null;
        context.Memory.Leave();
    }
}
