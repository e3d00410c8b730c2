using NUnit.Framework;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.CommandLine;

/// <summary>Options of <c>saturn train</c> reach the run.</summary>
public sealed class TrainOptionTests : CommandLineTest
{
    [Test]
    public void The_dead_threshold_decides_who_is_dead()
    {
        Success(Train("none", [.. Tiny(width: 20), "--prune-every", "1", "--noise", "off", "--dead-threshold", "0"]));
        Success(Train("all", [.. Tiny(width: 20), "--prune-every", "1", "--noise", "off", "--dead-threshold", "1000"]));
        Assert.That(Read("none").Pruning!.DeadThreshold, Is.Zero);
        Assert.That(Read("all").Pruning!.DeadThreshold, Is.EqualTo(1000));
        RunSummary none = RunFolder.Open(Run("none")).ReadSummary()!;
        RunSummary all = RunFolder.Open(Run("all")).ReadSummary()!;
        Assert.That(none.NeuronsLive, Is.GreaterThan(10));
        Assert.That(all.NeuronsLive, Is.EqualTo(2), "each of the two layers keeps its most active unit");
    }

    [Test]
    public void Any_pruning_option_asks_for_pruning()
    {
        Success(Train("plain", Tiny()));
        Assert.That(Read("plain").Pruning, Is.Null);
        foreach (string option in (string[])["--lambda 0", "--dead-threshold 0", "--census-images 8", "--residual tied", "--pressure-warmup 0.1"])
        {
            Success(Train("pruned", [.. Tiny(), .. option.Split(' '), "--overwrite"]));
            Assert.That(Read("pruned").Pruning, Is.Not.Null, option);
        }
    }

    private TrainingOptions Read(string run) => RunFolder.Open(Run(run)).ReadOptions();
}
