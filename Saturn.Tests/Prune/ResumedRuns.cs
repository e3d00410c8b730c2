using NUnit.Framework;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Prune;

/// <summary>Runs the same options through, and stopped and resumed.</summary>
internal static class ResumedRuns
{
    /// <summary>The checkpoint files that differ between both.</summary>
    /// <param name="folder">Takes the runs.</param>
    /// <param name="options">The options.</param>
    /// <param name="epoch">The epoch after which one is stopped.</param>
    public static string[] Differences(string folder, TrainingOptions options, int epoch)
    {
        RunFolder through = RunFolder.Create(Path.Combine(folder, "through"), options, false);
        using (Trainer trainer = new(options))
        {
            trainer.Run(through);
        }

        RunFolder parts = RunFolder.Create(Path.Combine(folder, "parts"), options, false);
        using (CancellationTokenSource stop = new())
        using (Trainer trainer = new(options, new StopAfter(epoch, stop)))
        {
            Assert.That(() => trainer.Run(parts, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        }

        using (Trainer trainer = new(options, null, parts.CheckpointPath))
        {
            trainer.Run(parts);
        }

        string[] files = ["model.safetensors", "optimizer.safetensors"];
        return [.. files.Where(file => !File.ReadAllBytes(Path.Combine(parts.CheckpointPath, file)).SequenceEqual(File.ReadAllBytes(Path.Combine(through.CheckpointPath, file))))];
    }

    private sealed class StopAfter(int epoch, CancellationTokenSource stop) : ITrainingObserver
    {
        public void Started(TrainingStart start)
        {
        }

        public void Progressed(in TrainingProgress progress)
        {
        }

        public void Pruned(in PruningNotice notice)
        {
        }

        public void EpochEnded(EpochMetrics metrics)
        {
            if (metrics.Epoch == epoch)
            {
                stop.Cancel();
            }
        }

        public void Warned(string message)
        {
        }
    }
}
