using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Training;

/// <summary>Whole runs: repeatability, interruption and resumption, divergence, and the steady step's silence on the managed heap.</summary>
public sealed class TrainerTests
{
    private static readonly TrainingOptions Small = new()
    {
        Data = "synthetic",
        TrainImages = 256,
        ValidationImages = 64,
        Model = "resnet18",
        Width = 4,
        Epochs = 4,
        Batch = 32,
        Optimizer = "adam",
        LearningRate = 0.05,
        Pruning = new DemonPruningOptions { Lambda = 0.5, NoiseStandardDeviation = 1e-3, PruneEvery = 6, CensusSize = 64 },
    };

    private string root = "";

    [SetUp]
    public void CreateFolder() => root = Directory.CreateTempSubdirectory("saturn-tests-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(root, recursive: true);

    [Test]
    public void A_run_that_was_interrupted_and_resumed_ends_with_the_same_bits([Values(3L, 13L, 16L)] long interruptAfter)
    {
        Dictionary<string, float[]> whole = RunToEnd(Path.Combine(root, "whole"), Small, out RunSummary summary);
        Assert.That(summary.NeuronSparsity, Is.GreaterThan(0.02), "the test must prune to say anything");
        string path = Path.Combine(root, "interrupted");
        RunFolder folder = RunFolder.Create(path, Small, false);
        using (CancellationTokenSource stop = new())
        using (Trainer first = new(Small, new Interrupter(interruptAfter, stop)))
        {
            Assert.That(() => first.Run(folder, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        }

        using Trainer second = new(Small, null, folder.CheckpointPath);
        second.Run(folder);
        Dictionary<string, float[]> resumed = Values(second);
        Assert.That(resumed.Keys, Is.EquivalentTo(whole.Keys));
        foreach (var (name, values) in resumed)
        {
            Assert.That(values, Is.EqualTo(whole[name]), name);
        }

        Assert.That(RunFolder.Open(path).ReadMetrics().Select(metrics => metrics.Epoch), Is.EqualTo(new[] { 1, 2, 3, 4 }));
    }

    [Test]
    public void Two_runs_of_one_seed_are_equal_and_another_seed_differs()
    {
        TrainingOptions brief = Small with { Epochs = 1 };
        Dictionary<string, float[]> first = RunToEnd(Path.Combine(root, "a"), brief, out _);
        Dictionary<string, float[]> second = RunToEnd(Path.Combine(root, "b"), brief with { Threads = 1 }, out _);
        Dictionary<string, float[]> other = RunToEnd(Path.Combine(root, "c"), brief with { Seed = 1 }, out _);
        Assert.That(first["conv1.weight"], Is.EqualTo(second["conv1.weight"]), "with one worker or two");
        Assert.That(first["fc.weight"], Is.EqualTo(second["fc.weight"]));
        Assert.That(first["conv1.weight"], Is.Not.EqualTo(other["conv1.weight"]));
    }

    [Test]
    public void Gradient_accumulation_equals_the_larger_batch_without_batch_norm()
    {
        TrainingOptions large = Small with { Model = "mlp", Width = 24, Epochs = 1, Pruning = null, Optimizer = "sgd", LearningRate = 0.05 };
        Dictionary<string, float[]> one = RunToEnd(Path.Combine(root, "one"), large, out _);
        Dictionary<string, float[]> two = RunToEnd(Path.Combine(root, "two"), large with { Batch = 16, Accumulate = 2 }, out _);
        foreach (var (name, values) in one)
        {
            Assert.That(values, Is.EqualTo(two[name]).Within(1e-5), name);
        }
    }

    [Test]
    public void A_diverged_run_stops_with_a_clear_message()
    {
        TrainingOptions wild = Small with { Model = "mlp", Width = 24, Optimizer = "sgd", LearningRate = 1e6, Pruning = null };
        using Trainer trainer = new(wild);
        Assert.That(() => trainer.Run(), Throws.TypeOf<TrainingDivergedException>().With.Message.Contains("diverged"));
    }

    [Test]
    public void A_batch_larger_than_the_data_is_refused() =>
        Assert.That(() => new Trainer(Small with { Batch = 1000 }), Throws.ArgumentException.With.Message.Contains("--batch 1000"));

    [Test]
    public void The_steady_step_allocates_nothing_on_the_managed_heap()
    {
        using CpuDevice device = new(workers: 2);
        ModelRecipe recipe = new("resnet18", 8, 10, 16, 16, 3);
        using Model model = ModelFactory.Create(recipe, device);
        model.Initialize(0);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 5e-4)) { MaximumGradientNorm = 1 };
        using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 1e-3 }), 1000, recipe.InputShape(1), 8);
        using Tensor images = Tensor.AllocateUnscoped(device, recipe.InputShape(8));
        device.Random.Normal(images.Shape, new RandomKey(1, 0, 0), 0, 1, images.Buffer);
        using Tensor labels = Tensor.FromValues(device, [0, 1, 2, 3, 4, 5, 6, 7]);
        for (int i = 0; i < 40; i++)
        {
            Step(i);
        }

        // On this thread nothing at all; on all threads together, the workers' among them, most steps must be without any: the test runner's own threads allocate now and then.
        const int Steps = 200;
        int silent = 0;
        long here = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < Steps; i++)
        {
            long before = GC.GetTotalAllocatedBytes(precise: true);
            Step(40 + i);
            silent += GC.GetTotalAllocatedBytes(precise: true) == before ? 1 : 0;
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - here, Is.Zero, "on the training thread");
        Assert.That(silent, Is.GreaterThan(Steps / 2), "steps in which no thread allocated");

        void Step(int step)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            pruning.BeforeStep(step);
            Operation.SoftmaxCrossEntropy(model.Forward(images), labels).Backward();
            pruning.Update();
        }
    }

    private static Dictionary<string, float[]> RunToEnd(string path, TrainingOptions options, out RunSummary summary)
    {
        using Trainer trainer = new(options);
        summary = trainer.Run(RunFolder.Create(path, options, false));
        return Values(trainer);
    }

    private static Dictionary<string, float[]> Values(Trainer trainer) => trainer.Model.Parameters.ToDictionary(p => p.Name, p => p.Value.ToArray());

    private sealed class Interrupter(long step, CancellationTokenSource stop) : ITrainingObserver
    {
        public void Started(TrainingStart start)
        {
            if (step < 6)
            {
                stop.Cancel();
            }
        }

        public void Progressed(in TrainingProgress progress)
        {
        }

        public void Pruned(in PruningNotice notice)
        {
            if (notice.Step >= step - 1)
            {
                stop.Cancel();
            }
        }

        public void EpochEnded(EpochMetrics metrics)
        {
            if (metrics.Step >= step)
            {
                stop.Cancel();
            }
        }

        public void Warned(string message)
        {
        }
    }
}
