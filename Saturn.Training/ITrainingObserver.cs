using Saturn.Training.Runs;

namespace Saturn.Training;

/// <summary>What a run tells while it goes on. Calls come from the training thread, between steps.</summary>
public interface ITrainingObserver
{
    /// <summary>The run is about to start or to resume.</summary>
    void Started(TrainingStart start);

    /// <summary>A logging point inside an epoch.</summary>
    void Progressed(in TrainingProgress progress);

    /// <summary>A census removed channels (or found nothing to remove).</summary>
    void Pruned(in PruningNotice notice);

    /// <summary>An epoch has ended and was validated.</summary>
    void EpochEnded(EpochMetrics metrics);

    /// <summary>Something the user should know.</summary>
    void Warned(string message);
}

/// <summary>What a run begins with.</summary>
/// <param name="Options">The options.</param>
/// <param name="Device">The device and its description.</param>
/// <param name="Data">The data set in words.</param>
/// <param name="StepsPerEpoch">Steps an epoch.</param>
/// <param name="FirstStep">The step that comes first: 0, or where a resumed run goes on.</param>
/// <param name="Units">Units of the dense network.</param>
/// <param name="Parameters">Parameters of the dense network.</param>
public sealed record TrainingStart(TrainingOptions Options, string Device, string Data, long StepsPerEpoch, long FirstStep, long Units, long Parameters);

/// <summary>Where a run stands.</summary>
/// <param name="Epoch">The epoch, from 1.</param>
/// <param name="Step">Steps taken.</param>
/// <param name="TotalSteps">Steps of the whole run.</param>
/// <param name="Loss">Mean loss of the steps since the last logging point.</param>
/// <param name="TrainAccuracy">Share of correct answers in those steps, 0 … 1.</param>
/// <param name="ImagesPerSecond">Images a second since the last logging point.</param>
/// <param name="LearningRate">η.</param>
/// <param name="Lambda">λ_t.</param>
/// <param name="LiveUnits">Units still in the network.</param>
/// <param name="ActiveUnits">Units active in the last batch.</param>
/// <param name="TotalUnits">Units of the dense network.</param>
/// <param name="WeightSparsity">Share of parameters removed, 0 … 1.</param>
/// <param name="SecondsLeft">Estimated seconds to the end.</param>
public readonly record struct TrainingProgress(
    int Epoch, long Step, long TotalSteps, double Loss, double TrainAccuracy, double ImagesPerSecond, double LearningRate, double Lambda, long LiveUnits,
    long ActiveUnits, long TotalUnits, double WeightSparsity, double SecondsLeft);

/// <summary>What a census led to.</summary>
/// <param name="Step">The step after which it was held.</param>
/// <param name="Removed">Units removed.</param>
/// <param name="LiveUnits">Units left.</param>
/// <param name="TotalUnits">Units of the dense network.</param>
/// <param name="Milliseconds">Time of census and removal.</param>
public readonly record struct PruningNotice(long Step, long Removed, long LiveUnits, long TotalUnits, double Milliseconds);
