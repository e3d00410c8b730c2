using NUnit.Framework;
using Saturn.Prune.Methods;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Prune;

/// <summary>Schedules and targets of the structured baselines, and whole runs with them.</summary>
public sealed class StructuredPruningTests
{
    private static TrainingOptions Options => new()
    {
        TrainImages = 256,
        ValidationImages = 64,
        Model = "resnet18",
        Width = 4,
        Epochs = 4,
        Batch = 32,
        Optimizer = "adam",
        LearningRate = 0.005,
        Threads = 1,
        Augment = false,
    };

    [Test]
    public void Iterative_steps_are_the_published_ones()
    {
        // t = 0.9: 0.9 − 0.4·½^i.
        Assert.That(IterativePruning.Steps(0.9), Is.EqualTo(new[] { 0.5, 0.7, 0.8, 0.85, 0.875, 0.8875, 0.9 }).Within(1e-12));
        Assert.That(IterativePruning.Steps(0.5), Is.EqualTo(new[] { 0.5 }));
        Assert.That(IterativePruning.Steps(0.3), Is.EqualTo(new[] { 0.3 }));
    }

    [Test]
    public void The_early_moment_is_when_the_weights_slow_down()
    {
        // s = 0.5: the threshold is 0.4 of the first epoch's distance.
        Assert.That(EarlyPruning.IsTime(0.41, 1, 0.5), Is.False);
        Assert.That(EarlyPruning.IsTime(0.39, 1, 0.5), Is.True);
        Assert.That(EarlyPruning.IsTime(-0.1, 1, 0.89), Is.True, "the change is signed");
        Assert.That(EarlyPruning.IsTime(0.01, 1, 0.95), Is.False, "above 0.9 the threshold is negative");
    }

    [TestCase("snap", "neurons", 0.7)]
    [TestCase("snap", "weights", 0.8)]
    [TestCase("cropit-s", "flops", 0.6)]
    [TestCase("earlysnap", "weights", 0.5)]
    [TestCase("earlycrop-s", "neurons", 0.6)]
    [TestCase("slimming", "neurons", 0.5)]
    [TestCase("l1-filter", "weights", 0.7)]
    [TestCase("random", "flops", 0.5)]
    public void Every_method_meets_its_target_within_one_unit(string method, string metric, double target)
    {
        using Trainer trainer = new(Options with { Method = method, MethodSettings = Settings(("target-sparsity", Text(target)), ("target-metric", metric)) });
        RunSummary summary = trainer.Run();
        double reached = metric == "neurons" ? summary.NeuronSparsity : metric == "weights" ? summary.WeightSparsity : 1 - summary.InferenceFlopsRatio;

        // 244 units; a unit of layer 4 of this narrow network is up to two points of its weights.
        Assert.That(reached, Is.EqualTo(target).Within(metric == "neurons" ? 0.5 / 244 + 1e-9 : 0.02));
        Assert.That(summary.Method, Is.EqualTo(method));
        Assert.That(double.IsFinite(summary.Accuracy));
    }

    [TestCase("earlycrop-s")]
    [TestCase("slimming")]
    public void A_resumed_run_gives_the_same_bits(string method)
    {
        string folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, Path.GetRandomFileName());
        try
        {
            TrainingOptions options = Options with { Method = method, MethodSettings = Settings(("target-sparsity", "0.5")), Epochs = 6 };
            Assert.That(ResumedRuns.Differences(folder, options, 1), Is.Empty);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Test]
    public void Slimming_presses_until_it_prunes()
    {
        NetworkSlimming slimming = new() { Pressure = 0.25, PruneAt = 0.5, TargetSparsity = 0.5 };
        using MethodRun run = new(slimming, totalSteps: 10);
        run.Run.BeforeStep(4);
        Assert.That(run.Run.Optimizer.Groups.Select(group => group.L1), Is.EqualTo(new[] { 0, 0.25, 0 }));
        run.Run.BeforeStep(5);
        Assert.That(run.Run.Optimizer.Groups.Select(group => group.L1), Is.All.Zero);
        Assert.That(run.Run.AfterStep(4), Is.Null);
        Assert.That(run.Run.AfterStep(5)!.Removed, Is.GreaterThan(0));
        Assert.That(run.Run.Accounting.NeuronSparsity, Is.EqualTo(0.5).Within(0.02));
    }

    [Test]
    public void Slimming_needs_a_scale_in_front_of_every_unit() =>
        Assert.That(() => new MethodRun(new NetworkSlimming(), 10, "mlp"), Throws.ArgumentException.With.Message.Contains("the units of layers.0 have none"));

    [TestCase("snap", "target-sparsity", "1.5", "target-sparsity must be above 0 and below 1")]
    [TestCase("snap", "target-metric", "colour", "one of neurons, weights, flops")]
    [TestCase("snap", "batches", "0", "batches must be at least 1")]
    [TestCase("slimming", "prune-at", "1", "prune-at must be in [0, 1)")]
    [TestCase("slimming", "prune-at", "0", "prune-at must be above 0")]
    [TestCase("snap", "lambda", "1", "has no setting 'lambda'; it has")]
    [TestCase("snip", "batches", "1", "Unknown method 'snip'; known: chase, cropit-s")]
    public void Bad_settings_are_one_sentence(string method, string setting, string value, string message) =>
        Assert.That(() => MethodCatalog.Create(method, Settings((setting, value))), Throws.ArgumentException.With.Message.Contains(message));

    [Test]
    public void Every_method_of_the_catalog_names_its_source_and_its_settings()
    {
        Assert.That(MethodCatalog.Methods.Select(method => method.Name), Is.SupersetOf(new[]
        {
            "dense", "demp", "snap", "cropit-s", "earlysnap", "earlycrop-s", "slimming", "l1-filter", "random", "magnitude", "saliency", "set", "rigl", "srigl", "chase", "grda",
        }));
        foreach (MethodDescription method in MethodCatalog.Methods)
        {
            Assert.That(method.Source, Is.Not.Empty, method.Name);
            Assert.That(method.Summary, Does.EndWith("."), method.Name);
            Assert.That(method.Settings.Select(setting => setting.Name), Is.Unique, method.Name);
        }
    }

    internal static Dictionary<string, string> Settings(params (string Name, string Value)[] settings) => settings.ToDictionary(pair => pair.Name, pair => pair.Value);

    private static string Text(double value) => value.ToString(System.Globalization.CultureInfo.InvariantCulture);
}
