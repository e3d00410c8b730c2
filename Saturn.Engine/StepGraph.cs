using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Diagnostics;

namespace Saturn.Engine;

/// <summary>
/// Takes training steps as one graph each: forward passes, loss, backward passes and the update are recorded once and repeated as a whole, so that a step costs the host a few calls
/// instead of some hundred launches. The bits are those of steps launched one by one.
///
/// The first step runs as usual and loads kernels and makes what stays; the next ones run in memory set aside, until a step asks for nothing new; then one is recorded, and compared
/// with the one before, call by call and byte by byte, so that only what is the same in every step is ever repeated. After <see cref="Run"/> with another structure, or when the update would touch
/// other memory, this begins anew.
/// </summary>
public sealed class StepGraph : IDisposable
{
    private enum Stage
    {
        Usual,
        Rehearsal,
        Recording,
        Repetition,
    }

    private readonly Device device;
    private readonly Optimizer optimizer;
    private readonly ChannelActivity[] activities;
    private readonly List<ChannelActivity> reporting = [];
    private IRecordedWork? work;
    private Stage stage;
    private long structure;
    private byte[] scalars = [];
    private Tensor deviceScalars;

    /// <summary>Prepares steps.</summary>
    /// <param name="device">A device that records (<see cref="Device.CreateRecording"/>).</param>
    /// <param name="optimizer">What updates the parameters.</param>
    /// <param name="activities">The model's activity records.</param>
    public StepGraph(Device device, Optimizer optimizer, IEnumerable<ChannelActivity> activities)
    {
        this.device = device;
        this.optimizer = optimizer;
        this.activities = [.. activities];
    }

    /// <summary>Why steps are launched one by one from now on: the first difference that a recording showed; null while there was none.</summary>
    public string? Refusal { get; private set; }

    /// <summary>Recordings made.</summary>
    public int Recordings { get; private set; }

    /// <summary>Steps that were repeated from a recording.</summary>
    public long Repetitions { get; private set; }

    /// <summary>Kernels, copies and fills of the recorded step.</summary>
    public int Operations { get; private set; }

    /// <summary>Takes a step.</summary>
    /// <param name="passes">
    /// The forward and backward passes. They read inputs from memory that stays, write what is kept to memory that stays, and may run twice for a step that could not be recorded; of a repeated step they
    /// do not run at all.
    /// </param>
    /// <param name="gradientScale">Multiplies every gradient first: 1/n after n accumulated batches.</param>
    /// <param name="structure">Changes whenever something else changes than the optimizer can see: the network, its masks, the size of a batch.</param>
    public void Run(Action passes, double gradientScale, long structure)
    {
        if (stage != Stage.Usual && (this.structure != structure || !optimizer.WouldRepeat(gradientScale)))
        {
            Forget();
        }

        this.structure = structure;
        switch (stage)
        {
            case Stage.Usual:
                passes();
                optimizer.Step(gradientScale);
                Remember(gradientScale);
                break;
            case Stage.Rehearsal:
                Rehearse(passes, gradientScale);
                break;
            case Stage.Recording:
                Record(passes, gradientScale);
                break;
            default:
                Prepare(gradientScale);
                Repeat();
                break;
        }
    }

    /// <summary>Drops the recording: the next step runs as usual.</summary>
    public void Forget()
    {
        work?.Dispose();
        work = null;
        stage = Stage.Usual;
        Operations = 0;
    }

    /// <summary>Frees the recording and its memory.</summary>
    public void Dispose()
    {
        Forget();
        deviceScalars.Dispose();
        deviceScalars = default;
    }

    private void Remember(double gradientScale)
    {
        if (Refusal is not null)
        {
            return;
        }

        optimizer.RememberStep(gradientScale);
        if (scalars.Length != optimizer.ScalarBytes)
        {
            scalars = new byte[optimizer.ScalarBytes];
            deviceScalars.Dispose();
            deviceScalars = Tensor.AllocateUnscoped(device, new Shape((scalars.Length + 3) / 4), ElementType.Int32);
        }

        work = device.CreateRecording();
        stage = Stage.Rehearsal;
    }

    private void Prepare(double gradientScale)
    {
        optimizer.PrepareRepetition(gradientScale, scalars);
        device.Upload(scalars, deviceScalars.Buffer);
    }

    private void Rehearse(Action passes, double gradientScale)
    {
        Prepare(gradientScale);
        work!.Begin(record: false);
        try
        {
            passes();
            optimizer.LaunchRepetition(gradientScale, deviceScalars.Buffer);
        }
        catch (NotRepeatableException exception)
        {
            // The passes were run, and nothing but the update is missing.
            work.Abandon();
            optimizer.FinishStep(gradientScale);
            Refuse(exception);
            return;
        }
        catch
        {
            work.Abandon();
            throw;
        }

        work.End();
        stage = work.IsSteady ? Stage.Recording : Stage.Rehearsal;
    }

    private void Record(Action passes, double gradientScale)
    {
        Prepare(gradientScale);
        try
        {
            work!.Begin(record: true);
            passes();
            optimizer.LaunchRepetition(gradientScale, deviceScalars.Buffer);
            work.End();
        }
        catch (Exception exception)
        {
            work!.Abandon();
            if (exception is not (NotRepeatableException or CudaException { IsSticky: false }))
            {
                throw;
            }

            RunAfterAll(passes, gradientScale);
            Refuse(exception);
            return;
        }

        Recordings++;
        Operations = work.Operations;
        if (EnvironmentVariable.Debug.Number(0, 5) >= 1)
        {
            Console.Error.WriteLine($"recorded a step of {Operations} kernels, copies and fills on {device.Name}");
        }

        reporting.Clear();
        reporting.AddRange(activities.Where(activity => activity.HasReported));
        stage = Stage.Repetition;
        work.Repeat();
    }

    private void Repeat()
    {
        work!.Repeat();
        Repetitions++;
        foreach (ChannelActivity activity in reporting)
        {
            activity.CountRepetition();
        }
    }

    /// <summary>Of a step that could not be recorded nothing was done: takes it as usual.</summary>
    private void RunAfterAll(Action passes, double gradientScale)
    {
        optimizer.ClearGradients();
        foreach (ChannelActivity activity in activities)
        {
            activity.Reset();
        }

        passes();
        optimizer.FinishStep(gradientScale);
    }

    private void Refuse(Exception exception)
    {
        Refusal = exception.Message;
        Forget();
    }
}
