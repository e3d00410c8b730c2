using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Tests.Cuda;

/// <summary>Whole training steps of Demon Pruning through the CUDA kernels: they agree with the host, and they never wait for the device.</summary>
public sealed class EmulatedTrainingTests
{
    private static readonly ModelRecipe Recipe = new("resnet18", 4, 10, 16, 16, 3);
    private const int Batch = 8;

    private sealed record Run(float[] Losses, Dictionary<string, float[]> Parameters, Dictionary<string, int[]?> Channels, int Removed, float Margin);

    [Test]
    public void Five_steps_with_a_removal_agree_with_the_host()
    {
        Nvrtc.Require();
        Run host;
        Run emulated;
        using (CpuDevice device = new(workers: 2))
        {
            host = Train(device);
        }

        using (CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 2))))
        {
            emulated = Train(device);
        }

        Assert.That(host.Removed, Is.GreaterThanOrEqualTo(3), "the units that were silenced are among them");
        Assert.That(host.Margin, Is.GreaterThan(0.01), "no live unit is near death, so that rounding decides nothing");
        Assert.That(emulated.Removed, Is.EqualTo(host.Removed));
        Assert.That(emulated.Channels, Is.EqualTo(host.Channels), "the same channels are left");
        Assert.That(RelativeError(emulated.Losses, host.Losses), Is.LessThan(1e-4), "losses");
        foreach ((string name, float[] values) in host.Parameters)
        {
            Assert.That(RelativeError(emulated.Parameters[name], values), Is.LessThan(1e-4), name);
        }
    }

    [Test]
    public void A_device_of_compute_capability_9_computes_the_same_bits()
    {
        Nvrtc.Require();
        Run[] runs = [.. new[] { EmulatedArchitecture.Ampere, EmulatedArchitecture.Hopper }.Select(architecture =>
        {
            using CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: architecture == EmulatedArchitecture.Hopper, Workers: 2, Architecture: architecture)));
            return Train(device);
        })];
        Assert.That(runs[1].Losses, Is.EqualTo(runs[0].Losses));
        Assert.That(runs[1].Parameters.Keys, Is.EquivalentTo(runs[0].Parameters.Keys));
        foreach ((string name, float[] values) in runs[0].Parameters)
        {
            Assert.That(runs[1].Parameters[name], Is.EqualTo(values), name);
        }
    }

    [Test]
    public void Warpgroups_train_as_warps_do()
    {
        Nvrtc.Require();
        Run[] runs = [.. new[] { false, true, true }.Select(warpgroups =>
        {
            EmulatedDriver driver = new(new EmulatorOptions(Checked: true, Workers: 2, Architecture: EmulatedArchitecture.Hopper));
            using CudaDevice device = new("emulated", driver, precision: Precision.Bf16, warpgroups: warpgroups);
            return Train(device, new EveryFifthUnit());
        })];
        Assert.That(runs[1].Removed, Is.Positive);
        Assert.That(runs[1].Channels, Is.EqualTo(runs[0].Channels), "the same channels are left");
        Assert.That(RelativeError(runs[1].Losses, runs[0].Losses), Is.LessThan(1e-2), "losses");
        foreach ((string name, float[] values) in runs[0].Parameters)
        {
            Assert.That(RelativeError(runs[1].Parameters[name], values), Is.LessThan(2e-2), name);
            Assert.That(runs[2].Parameters[name], Is.EqualTo(runs[1].Parameters[name]), $"{name}, a second time");
        }

        Assert.That(runs[1].Losses, Is.Not.EqualTo(runs[0].Losses), "the choice shows");
        Assert.That(runs[2].Losses, Is.EqualTo(runs[1].Losses));
    }

    [Test]
    public void A_training_step_never_waits_for_the_device()
    {
        Nvrtc.Require();
        EmulatedDriver driver = new(new EmulatorOptions(Checked: false, Workers: 2));
        using CudaDevice device = new("emulated", driver);
        using Model model = ModelFactory.Create(Recipe, device);
        model.Initialize(0);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.01, 5e-4));
        using PruningRun pruning = new(model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 0.01, PruneEvery = 100 }), 100, Recipe.InputShape(Batch), Batch);
        byte[] images = new byte[Recipe.InputShape(Batch).StorageCount * sizeof(float)];

        // The first steps fetch memory and load modules; those calls wait, as on hardware.
        Step(0);
        Step(1);
        device.Synchronize();
        long before = driver.SynchronizingCalls;
        Step(2);
        Step(3);
        Step(4);
        Assert.That(driver.SynchronizingCalls - before, Is.Zero);
        device.Synchronize();

        void Step(int step)
        {
            using TensorScope scope = new();
            Tensor batch = Tensor.Zeros(device, Recipe.InputShape(Batch));
            device.Upload(images, batch.Buffer);
            Tensor labels = Tensor.FromValues(device, [0, 1, 2, 3, 4, 5, 6, 7]);
            pruning.BeforeStep(step);
            model.BeginStep(step);
            Operation.SoftmaxCrossEntropy(model.Forward(batch), labels).Backward();
            pruning.Update();
        }
    }

    private static Run Train(Device device, IPruningCriterion? criterion = null)
    {
        using Model model = ModelFactory.Create(Recipe, device);
        model.Initialize(3);

        // Shifts keep most units well above zero.
        foreach (Parameter shift in model.Parameters.Where(parameter => parameter.Role == ParameterRole.NormalizationShift))
        {
            float[] values = shift.Value.ToArray();
            Array.Fill(values, 0.5f);
            shift.Value.CopyFrom(values);
        }

        Silence(model, "layer1.0.bn1.bias", 1);
        Silence(model, "layer3.1.bn1.bias", 0, 7);
        using Sgd optimizer = new(PruningRun.CreateGroups(model, 0.01, 5e-4), momentum: 0.9);
        MarginOfDeadUnits margin = new();
        using PruningRun pruning = new(
            model, optimizer, new DemonPruning(new DemonPruningOptions { Lambda = 0.01, NoiseStandardDeviation = 1e-3, Schedule = PressureSchedule.Constant, PruneEvery = 3 }, criterion ?? margin), 5,
            Recipe.InputShape(Batch), Batch);
        float[] losses = new float[5];
        int removed = 0;
        for (int step = 0; step < losses.Length; step++)
        {
            using TensorScope scope = new();
            pruning.BeforeStep(step);
            model.BeginStep(step);
            Tensor images = Tensor.Uniform(device, Recipe.InputShape(Batch), new RandomKey(1, 0, (ulong)step), -1, 1);
            Tensor loss = Operation.SoftmaxCrossEntropy(model.Forward(images), Tensor.FromValues(device, [0, 1, 2, 3, 4, 5, 6, 7]));
            loss.Backward();
            losses[step] = loss.ToArray()[0];
            pruning.Update();
            if (step == 2)
            {
                Tensor sample = Tensor.Uniform(device, Recipe.InputShape(16), new RandomKey(2, 0, 0), -1, 1);
                pruning.CensusImages = visit => visit(sample);
                removed = ((DemonPruning)pruning.Method).Prune(pruning);
            }
        }

        return new Run(
            losses, model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value.ToArray()),
            model.Activities.ToDictionary(activity => activity.Name, activity => activity.OriginalChannels), removed, margin.SmallestLiveMaximum);
    }

    /// <summary>Dead units go, and the least active of those that stay is remembered.</summary>
    private sealed class MarginOfDeadUnits : IPruningCriterion
    {
        private readonly DeadUnits dead = new();

        public float SmallestLiveMaximum { get; private set; } = float.PositiveInfinity;

        public void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove)
        {
            dead.Select(group, statistics, remove);
            for (int c = 0; c < remove.Length; c++)
            {
                SmallestLiveMaximum = remove[c] ? SmallestLiveMaximum : Math.Min(SmallestLiveMaximum, statistics.Maximum[c]);
            }
        }
    }

    /// <summary>What goes does not depend on roundings, and sums of residual blocks lose units as well.</summary>
    private sealed class EveryFifthUnit : IPruningCriterion
    {
        public void Select(UnitGroup group, ChannelStatistics statistics, Span<bool> remove)
        {
            for (int c = 0; c < remove.Length; c++)
            {
                remove[c] = c % 5 == 3;
            }
        }
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

    private static double RelativeError(float[] actual, float[] expected)
    {
        Assert.That(actual, Has.Length.EqualTo(expected.Length));
        double difference = Math.Sqrt(actual.Zip(expected, (a, e) => ((double)a - e) * ((double)a - e)).Sum());
        return difference / Math.Max(Math.Sqrt(expected.Sum(e => (double)e * e)), 1e-6);
    }
}
