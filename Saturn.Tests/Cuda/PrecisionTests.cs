using System.Globalization;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Training;
using Saturn.Training.Runs;

namespace Saturn.Tests.Cuda;

/// <summary>
/// What a precision does to training, on the CUDA kernels in the emulator: the losses stay within the bounds that docs/precision.md states, the same units are removed, and nothing is left behind.
/// </summary>
public sealed class PrecisionTests
{
    private const int Batch = 8;
    private const int Steps = 50;
    private const int CensusAfter = 25;

    private static Run? reference;

    private sealed record Run(double[] Losses, Dictionary<string, int[]?> Channels, int Removed);

    // Mean and largest distance to the losses of fp32 on a step; docs/precision.md says what was measured.
    [TestCase(Precision.Tf32, 0.005, 0.02)]
    [TestCase(Precision.Bf16, 0.01, 0.03)]
    public void Losses_stay_near_those_of_fp32_and_the_same_units_are_removed(Precision precision, double mean, double largest)
    {
        Nvrtc.Require();
        Run expected = reference ??= Train(Precision.Fp32);
        Run actual = Train(precision);
        double[] distances = [.. actual.Losses.Zip(expected.Losses, (a, e) => Math.Abs(a - e))];
        TestContext.Out.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{precision.Name()}: losses {expected.Losses[0]:F4} to {expected.Losses[^1]:F4} (fp32), to {actual.Losses[^1]:F4}; mean distance {distances.Average():G3}, largest {distances.Max():G3}; {actual.Removed} units removed"));
        Assert.That(expected.Losses[^1], Is.LessThan(0.5 * expected.Losses[0]), "the network must learn for the comparison to say anything");
        Assert.That(distances.Average(), Is.LessThanOrEqualTo(mean), "mean distance");
        Assert.That(distances.Max(), Is.LessThanOrEqualTo(largest), "largest distance");
        Assert.That(expected.Removed, Is.EqualTo(3), "the units that were silenced");
        Assert.That(actual.Removed, Is.EqualTo(expected.Removed));
        Assert.That(actual.Channels, Is.EqualTo(expected.Channels));
    }

    [Test]
    public void Two_runs_in_bf16_have_the_same_bits()
    {
        Nvrtc.Require();
        Run first = Train(Precision.Bf16, 4);
        Run second = Train(Precision.Bf16, 4);
        Assert.That(second.Losses, Is.EqualTo(first.Losses));
    }

    [Test]
    public void A_steady_step_in_bf16_allocates_nothing_on_the_managed_heap()
    {
        Nvrtc.Require();
        using CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: false, Workers: 2)), precision: Precision.Bf16);
        using SmallResNet model = new(device);
        model.Initialize(0);
        using Adam optimizer = new(PruningRun.CreateGroups(model, 1e-3, 5e-4)) { MaximumGradientNorm = 1 };
        using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 1e-3 }), 1000, SmallResNet.InputShape, Batch);
        using Tensor images = Tensor.AllocateUnscoped(device, SmallResNet.InputShape);
        device.Random.Uniform(images.Shape, new RandomKey(1, 0, 0), -1, 1, images.Buffer);
        using Tensor labels = Tensor.FromValues(device, [0, 1, 2, 3, 0, 1, 2, 3]);
        long[] allocated = new long[16];
        for (int i = 0; i < allocated.Length; i++)
        {
            device.Synchronize();
            long before = GC.GetAllocatedBytesForCurrentThread();
            Step(i);
            allocated[i] = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        // Lists of the emulator grow now and then; what a step needs it would need in each.
        Assert.That(allocated[8..].Min(), Is.Zero);

        void Step(int step)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            pruning.BeforeStep(step);
            Operation.SoftmaxCrossEntropy(model.Forward(images), labels).Backward();
            pruning.Update();
        }
    }

    [Test]
    public void A_run_in_bf16_goes_on_from_its_checkpoint_with_the_same_bits()
    {
        Nvrtc.Require();
        string root = Directory.CreateTempSubdirectory("saturn-tests-").FullName;
        try
        {
            TrainingOptions options = new()
            {
                TrainImages = 32,
                ValidationImages = 16,
                Model = "cnn",
                Width = 3,
                Epochs = 2,
                Batch = 16,
                LearningRate = 0.02,
                Device = "emulated:fast",
                Precision = Precision.Bf16,
            };
            RunFolder folder = RunFolder.Create(Path.Combine(root, "whole"), options, false);
            Assert.That(folder.ReadOptions().Precision, Is.EqualTo(Precision.Bf16), "config.json");
            Dictionary<string, float[]> whole = Finish(options, folder, null);
            Assert.That(folder.ReadSummary()!.Precision, Is.EqualTo(Precision.Bf16), "summary.json");
            RunFolder half = RunFolder.Create(Path.Combine(root, "half"), options, false);
            using (CancellationTokenSource stop = new())
            using (Trainer first = new(options, new StopAfterEpoch(stop)))
            {
                Assert.That(() => first.Run(half, stop.Token), Throws.InstanceOf<OperationCanceledException>());
            }

            Dictionary<string, float[]> resumed = Finish(half.ReadOptions(), half, half.CheckpointPath);
            foreach ((string name, float[] values) in whole)
            {
                Assert.That(resumed[name], Is.EqualTo(values), name);
            }
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }

        static Dictionary<string, float[]> Finish(TrainingOptions options, RunFolder folder, string? checkpoint)
        {
            using Trainer trainer = new(options, null, checkpoint);
            trainer.Run(folder);
            return trainer.Model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value.ToArray());
        }
    }

    private static Run Train(Precision precision, int steps = Steps)
    {
        EmulatedDriver driver = new(new EmulatorOptions(Checked: false, Workers: 2));
        Run run;
        using (CudaDevice device = new("emulated", driver, precision: precision))
        {
            run = Train(device, steps);
            Assert.That(device.Memory.LiveBytes, Is.Zero);
        }

        Assert.That(driver.Leaks, Is.Empty);
        return run;
    }

    /// <summary>Four batches of noise in turn, learnt by heart; three units that were silenced go after half of the steps.</summary>
    private static Run Train(Device device, int steps)
    {
        using SmallResNet model = new(device);
        model.Initialize(3);
        Silence(model, "layer1.0.bn1.bias", 1);
        Silence(model, "layer2.0.bn1.bias", 0, 7);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.02, 5e-4), momentum: 0.9) { NoiseSeed = 7 };
        DemonPruningOptions options = new() { Lambda = 1e-3, NoiseStandardDeviation = 1e-4, PruneEvery = CensusAfter, Removal = RemovalTime.Periodic, FoldConstants = false };
        using PruningRun pruning = new(model, optimizer, new DemonPruning(options), steps, SmallResNet.InputShape, Batch);
        using Tensor sample = Tensor.AllocateUnscoped(device, SmallResNet.InputShape);
        device.Random.Uniform(sample.Shape, new RandomKey(1, 0, 0), -1, 1, sample.Buffer);
        pruning.CensusImages = visit => visit(sample);
        double[] losses = new double[steps];
        int removed = 0;
        for (int step = 0; step < steps; step++)
        {
            using TensorScope scope = new();
            model.BeginStep(step);
            pruning.BeforeStep(step);
            Tensor images = Tensor.Uniform(device, SmallResNet.InputShape, new RandomKey(1, 0, (ulong)(step % 4)), -1, 1);
            Tensor loss = Operation.SoftmaxCrossEntropy(model.Forward(images), Tensor.FromValues(device, [0, 1, 2, 3, 3, 2, 1, 0]));
            loss.Backward();
            pruning.Update();
            losses[step] = loss.ToScalar();
            removed += pruning.AfterStep(step + 1)?.Removed ?? 0;
        }

        return new Run(losses, model.Activities.ToDictionary(activity => activity.Name, activity => activity.OriginalChannels), removed);
    }

    private static void Silence(Model model, string shift, params int[] channels)
    {
        Parameter parameter = model.Parameters.Single(parameter => parameter.Name == shift);
        float[] values = parameter.Value.ToArray();
        foreach (int channel in channels)
        {
            values[channel] = -1000;
        }

        parameter.Value.CopyFrom(values);
    }

    private sealed class StopAfterEpoch(CancellationTokenSource stop) : ITrainingObserver
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

        public void EpochEnded(EpochMetrics metrics) => stop.Cancel();

        public void Warned(string message)
        {
        }
    }

    /// <summary>A stem and two residual blocks, with an identity shortcut and a strided convolution as shortcut, on 8×8 images.</summary>
    private sealed class SmallResNet : Model
    {
        public static readonly Shape InputShape = new(Batch, 8, 8, 3);

        private readonly ConvBatchNormRelu stem;
        private readonly ResidualBlock first;
        private readonly ResidualBlock second;
        private readonly Linear classifier;

        public SmallResNet(Device device)
            : base(device, new ModelRecipe("small", 8, 4, 8, 8, 3))
        {
            stem = new ConvBatchNormRelu(device, 3, 8, 3, ConvolutionSettings.Square(1, 1), Activation.Relu);
            Register("conv1", stem.Convolution);
            Register("bn1", stem.Norm);
            Register("conv1", stem.Activity!);
            first = Register("layer1.0", new ResidualBlock(device, "layer1.0", new ChannelPlan(), 8, 8, 8, 1, false, false, Activation.Relu));
            AddShortcut("layer1.0", first.Shortcut!);
            second = Register("layer2.0", new ResidualBlock(device, "layer2.0", new ChannelPlan(), 8, 12, 12, 2, false, true, Activation.Relu));
            classifier = Register("fc", new Linear(device, 12, 4));
        }

        public override Tensor Forward(Tensor input) => classifier.Forward(Operation.GlobalAveragePool(second.Forward(first.Forward(stem.Forward(input)))));
    }
}
