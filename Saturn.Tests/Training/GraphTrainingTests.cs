using NUnit.Framework;
using Saturn.Prune;
using Saturn.Tests.Cuda;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Training;

/// <summary>Whole runs on the emulated GPU: steps as graphs and images in device memory change no bit, over the ends of epochs, and through an interruption in the middle of one.</summary>
public sealed class GraphTrainingTests
{
    private static readonly TrainingOptions Options = new()
    {
        Data = "synthetic",
        TrainImages = 26,
        ValidationImages = 8,
        Model = "cnn",
        Width = 2,
        Epochs = 3,
        Batch = 2,
        Accumulate = 2,
        Device = "emulated:fast",
        Graph = "off",
        DataOn = "host",
        LabelSmoothing = 0.1,
        Pruning = new DemonPruningOptions { Lambda = 0.5, NoiseStandardDeviation = 1e-3, PruneEvery = 9, CensusSize = 8 },
    };

    private string root = "";

    [SetUp]
    public void CreateFolder() => root = Directory.CreateTempSubdirectory("saturn-tests-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(root, recursive: true);

    [Test]
    public void Graphs_and_images_on_the_device_change_no_bit()
    {
        Nvrtc.Require();
        byte[] single = RunToEnd("single", Options);
        Assert.That(RunToEnd("graph", Options with { Graph = "on" }), Is.EqualTo(single), "graph, images on the host");
        Assert.That(RunToEnd("resident", Options with { DataOn = "device" }), Is.EqualTo(single), "images on the device");
        Assert.That(RunToEnd("both", Options with { Graph = "on", DataOn = "device" }), Is.EqualTo(single), "graph, images on the device");
        Assert.That(RunToEnd("plain", Options with { Graph = "on", DataOn = "device", Augment = false }), Is.Not.EqualTo(single), "augmentation shows");
    }

    [Test]
    public void An_interruption_in_the_middle_of_an_epoch_changes_no_bit()
    {
        Nvrtc.Require();
        TrainingOptions options = Options with { Graph = "on", DataOn = "device" };
        byte[] through = RunToEnd("through", options);
        RunFolder parts = RunFolder.Create(Path.Combine(root, "parts"), options, false);
        using (CancellationTokenSource stop = new())
        using (Trainer trainer = new(options, new StopAtCensus(stop)))
        {
            Assert.That(() => trainer.Run(parts, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        }

        using (Trainer trainer = new(options, null, parts.CheckpointPath))
        {
            trainer.Run(parts);
        }

        Assert.That(Checkpoint(parts), Is.EqualTo(through));
    }

    [TestCase("rigl", "looks at the gradients of every step")]
    [TestCase("demp", "a window of liveness moves on differently from step to step")]
    public void A_run_whose_steps_differ_is_refused_when_graphs_are_asked_for(string method, string expected)
    {
        Nvrtc.Require();
        TrainingOptions options = Options with
        {
            Graph = "on",
            Method = method,
            Pruning = method == "demp" ? Options.Pruning! with { NoiseLiveness = NoiseLiveness.Window } : null,
        };
        Assert.That(() => new Trainer(options), Throws.ArgumentException.With.Message.StartsWith("--graph on does not fit this run: ").And.Message.Contains(expected));
    }

    private byte[] RunToEnd(string name, TrainingOptions options)
    {
        RunFolder folder = RunFolder.Create(Path.Combine(root, name), options, false);
        using Trainer trainer = new(options);
        trainer.Run(folder);
        return Checkpoint(folder);
    }

    private static byte[] Checkpoint(RunFolder folder) =>
        [.. File.ReadAllBytes(Path.Combine(folder.CheckpointPath, "model.safetensors")), .. File.ReadAllBytes(Path.Combine(folder.CheckpointPath, "optimizer.safetensors"))];

    /// <summary>Stops at the census after step 9: the third of an epoch of six.</summary>
    private sealed class StopAtCensus(CancellationTokenSource stop) : ITrainingObserver
    {
        public void Started(TrainingStart start)
        {
        }

        public void Progressed(in TrainingProgress progress)
        {
        }

        public void Pruned(in PruningNotice notice) => stop.Cancel();

        public void EpochEnded(EpochMetrics metrics)
        {
        }

        public void Warned(string message) => Assert.Fail(message);
    }
}
