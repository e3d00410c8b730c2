using NUnit.Framework;

namespace Saturn.Tests.CommandLine;

/// <summary><c>saturn methods</c>, and <c>saturn train --method</c> with its settings and targets.</summary>
public sealed class MethodTests : CommandLineTest
{
    [Test]
    public void Methods_are_listed_with_their_settings()
    {
        Assert.That(Call("methods").Output, Does.Contain("earlycrop-s").And.Contain("grda").And.Contain("srigl"));
        Assert.That(Call("methods", "chase").Output, Does.Contain("channel-sparsity").And.Contain("default: 0.3").And.Contain("Source:"));
        Assert.That(Call("methods", "nothing").Errors, Does.Contain("Unknown method 'nothing'; known:"));
    }

    [TestCase("--method snip", "Unknown method 'snip'; known:")]
    [TestCase("--method snap --lambda 1", "--method snap does not go with --lambda, which is Demon Pruning's")]
    [TestCase("--method dense --target-sparsity 0.5", "--method dense cannot be given --target-sparsity: nothing is pruned")]
    [TestCase("--method grda --target-sparsity 0.5", "its sparsity follows from its other settings")]
    [TestCase("--method rigl --target-metric flops", "its target counts the weights of convolutions and linear layers")]
    [TestCase("--lambda 0.1 --noise-window 5", "--noise-window is the length of --noise-liveness window, but that is batch")]
    [TestCase("--method grda --set mu=2", "mu must be between 0 and 1")]
    [TestCase("--method grda --set mu", "--set takes NAME=VALUE, but got 'mu'")]
    [TestCase("--method grda --set mu=0.6 --set mu=0.7", "--set mu was given twice")]
    [TestCase("--method grda --optimizer adam", "is an update rule of its own, so --optimizer adam does not go with it")]
    [TestCase("--method demp --set lambda=1", "Demon Pruning's settings are options of their own")]
    [TestCase("--target-sparsity 1.5", "--target-sparsity must be above 0 and below 1, but is '1.5'")]
    [TestCase("--target-sparsity 0.99 --regularize all", "cannot be met")]
    [TestCase("--target-sparsity 0.5 --regularize all --removal never", "needs --removal periodic")]
    [TestCase("--lambda 1", "has no normalization scales")]
    [TestCase("--method slimming", "the units of layers.0 have none in front of them")]
    [TestCase("--dead-criterion zero --activation gelu --lambda 0", "The criterion zero does not fit layers.0, whose activation is Gelu")]
    [TestCase("--dead-criterion magnitude --dead-threshold 0 --lambda 0", "No magnitude is below 0")]
    [TestCase("--noise-liveness window --noise-window 0", "--noise-window must be at least 1 batch")]
    [TestCase("--init-from nowhere", "--init-from names 'nowhere'")]
    [TestCase("--count-dead 0", "--count-dead must be at least 1 step")]
    [TestCase("--model vit --patch 5", "do not tile an image of 32×32")]
    public void What_does_not_fit_is_one_sentence(string options, string message)
    {
        string[] words = options.Split(' ');

        // What the case sets itself, or cannot bear, leaves the usual options.
        string[] usual = [.. Tiny().Chunk(2).Where(pair => !words.Contains(pair[0]) && !(pair[0] == "--optimizer" && words.Contains("grda"))).SelectMany(pair => pair)];
        var (code, _, errors) = Call([.. Train("bad", [.. usual, .. words])]);
        Assert.That(code, Is.Not.Zero);
        Assert.That(errors.TrimEnd(), Does.StartWith("error: ").And.Contain(message));
        Assert.That(errors.TrimEnd().Split('\n'), Has.Length.EqualTo(1));
        Assert.That(Directory.Exists(Run("bad")), Is.False, "nothing half-made stays behind");
    }

    [Test]
    public void A_run_begins_with_the_weights_of_another_one()
    {
        Assert.That(Call([.. Train("first", Tiny())]).ExitCode, Is.Zero);
        var (code, output, errors) = Call([.. Train("second", [.. Tiny(), "--init-from", Run("first"), "--lr", "1e-9", "--count-dead", "1"])]);
        Assert.That(code, Is.Zero, errors);
        Assert.That(output, Does.Contain("Report:"));
        var first = Saturn.Training.Runs.RunFolder.Open(Run("first")).ReadSummary()!;
        var second = Saturn.Training.Runs.RunFolder.Open(Run("second")).ReadSummary()!;
        Assert.That(second.Accuracy, Is.EqualTo(first.Accuracy), "with next to no learning rate nothing has changed");
        Assert.That(Saturn.Training.Runs.RunFolder.Open(Run("second")).ReadDeaths().Select(count => count.Step), Is.EqualTo(new[] { 0, 1, 2, 3, 4 }));
        Assert.That(Call("lab", "deaths", "second", "--runs", Root, "--out", Root).Output, Does.Contain("second: "));
        Assert.That(File.Exists(Path.Combine(Root, "deaths.html")));
        Assert.That(Call("lab", "deaths", "first", "--runs", Root, "--out", Root).Errors, Does.Contain("train it with --count-dead"));
    }
}
