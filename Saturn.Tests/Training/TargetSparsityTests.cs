using NUnit.Framework;
using Saturn.Prune;
using Saturn.Tests.Prune;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Training;

/// <summary>A sparsity that was asked for is reached, in one run, by steering λ.</summary>
public sealed class TargetSparsityTests
{
    private static TrainingOptions Options => new()
    {
        TrainImages = 512,
        ValidationImages = 128,
        Model = "cnn",
        Width = 12,
        Epochs = 6,
        Batch = 32,
        Optimizer = "adam",
        LearningRate = 0.01,
        Threads = 1,
        Augment = false,
        Pruning = new DemonPruningOptions { PruneEvery = 8, CensusSize = 64 },
    };

    [TestCase(SparsityMetric.Neurons, 0.3)]
    [TestCase(SparsityMetric.Neurons, 0.8)]
    [TestCase(SparsityMetric.Weights, 0.5)]
    [TestCase(SparsityMetric.Weights, 0.9)]
    [TestCase(SparsityMetric.Flops, 0.6)]
    public void The_target_is_met_within_a_point_or_one_channels_share(SparsityMetric metric, double target)
    {
        using Trainer trainer = new(Options with { Pruning = Options.Pruning! with { TargetSparsity = target, TargetMetric = metric } });
        RunSummary summary = trainer.Run();
        double reached = metric switch
        {
            SparsityMetric.Neurons => summary.NeuronSparsity,
            SparsityMetric.Weights => summary.WeightSparsity,
            _ => 1 - summary.InferenceFlopsRatio,
        };

        // 12, 24 and 48 units: the largest channel's share of the parameters or operations that are left is about four points.
        double share = metric == SparsityMetric.Neurons ? 1 / 84.0 : 0.04;
        Assert.That(reached, Is.EqualTo(target).Within(Math.Max(0.01, share)));
    }

    [Test]
    public void Once_there_no_pressure_and_no_noise_are_left()
    {
        Notes notes = new();
        using Trainer trainer = new(Options with { Pruning = Options.Pruning! with { TargetSparsity = 0.4, TargetMetric = SparsityMetric.Weights } }, notes);
        trainer.Run();
        Assert.That(notes.Lambdas[0], Is.GreaterThan(0));
        Assert.That(notes.Lambdas[^1], Is.Zero);
        Assert.That(notes.Noises[^1], Is.Zero);
    }

    [TestCase(0.1)]
    [TestCase(1 / 3.0)]
    public void The_target_is_met_by_the_share_of_the_run_that_was_asked_for(double by)
    {
        Notes notes = new();
        using Trainer trainer = new(Options with { Pruning = Options.Pruning! with { TargetSparsity = 0.8, TargetMetric = SparsityMetric.Neurons, TargetBy = by } }, notes);
        trainer.Run();

        // 6 epochs of 16 steps. The first removal that reaches the target, within one of 84 units, is not after the deadline.
        Assert.That(notes.Removals.First(removal => removal.Live <= 84 * 0.2 + 1).Step, Is.LessThanOrEqualTo((long)(96 * by)));
    }

    [Test]
    public void A_deadline_needs_a_target_and_no_later_start()
    {
        DemonPruningOptions late = new() { TargetSparsity = 0.5, TargetBy = 0.25, StartStep = 30 };
        Assert.That(() => new Trainer(Options with { Pruning = late }), Throws.ArgumentException.With.Message.Contains("--prune-start 30 is after step 24 of 96"));
        Assert.That(() => new DemonPruningOptions { TargetBy = 0.5 }.Validate(), Throws.ArgumentException.With.Message.Contains("--target-sparsity"));
        Assert.That(() => (late with { TargetBy = 1.5 }).Validate(), Throws.ArgumentException.With.Message.Contains("--target-by must be above 0 and at most 1"));
    }

    [Test]
    public void A_target_beyond_what_can_go_is_one_sentence_with_the_most_that_can()
    {
        TrainingOptions options = Options with { Pruning = Options.Pruning! with { TargetSparsity = 0.99, TargetMetric = SparsityMetric.Neurons } };
        Assert.That(() => new Trainer(options), Throws.ArgumentException.With.Message.Contains("cannot be met").And.Message.Contains("0.964"));
    }

    [Test]
    public void A_resumed_run_is_steered_to_the_same_bits()
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, Path.GetRandomFileName());
        try
        {
            TrainingOptions options = Options with { Pruning = Options.Pruning! with { TargetSparsity = 0.6 }, CountDead = 10 };
            Assert.That(ResumedRuns.Differences(folder, options, 3), Is.Empty);
            RunFolder through = RunFolder.Open(Path.Combine(folder, "through"));
            RunFolder parts = RunFolder.Open(Path.Combine(folder, "parts"));
            Assert.That(parts.ReadDeaths().Select(death => death.ToString()), Is.EqualTo(through.ReadDeaths().Select(death => death.ToString())).Using<string>((a, b) => a.Split("DeadByGroup")[0] == b.Split("DeadByGroup")[0]));
            Assert.That(through.ReadDeaths(), Has.Count.EqualTo(1 + 96 / 10 + 1), "at the start, every ten steps and at the end");
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    private sealed class Notes : ITrainingObserver
    {
        public List<double> Lambdas { get; } = [];

        public List<double> Noises { get; } = [];

        public List<(long Step, long Live)> Removals { get; } = [];

        public void Started(TrainingStart start)
        {
        }

        public void Progressed(in TrainingProgress progress)
        {
        }

        public void Pruned(in PruningNotice notice) => Removals.Add((notice.Step, notice.LiveUnits));

        public void EpochEnded(EpochMetrics metrics)
        {
            Lambdas.Add(metrics.Lambda);
            Noises.Add(metrics.NoiseStd);
        }

        public void Warned(string message)
        {
        }
    }
}
