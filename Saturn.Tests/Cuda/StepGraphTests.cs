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

namespace Saturn.Tests.Cuda;

/// <summary>Training steps repeated from a graph: the bits of steps launched one by one, through a removal in their middle, without waiting and without memory left behind.</summary>
public sealed class StepGraphTests
{
    private const int Batch = 4;
    private static readonly ModelRecipe Recipe = new("resnet18", 4, 10, 8, 8, 3);

    private sealed record Outcome(float[] Losses, Dictionary<string, float[]> State, Dictionary<string, int[]?> Channels, int Removed, int Recordings, long Repetitions);

    private static readonly string[] DeviceNames = [.. TestDevices.Names.Where(name => !name.StartsWith("cpu", StringComparison.Ordinal)), .. TestDevices.TensorNames];

    [TestCaseSource(nameof(DeviceNames))]
    public void Twenty_steps_with_a_removal_have_the_bits_of_single_launches_on(string name)
    {
        AssertSame(Train(false), Train(true));

        Outcome Train(bool asGraph)
        {
            using CudaDevice device = (CudaDevice)TestDevices.Open(name);
            Outcome outcome = StepGraphTests.Train(device, "sgd", 1, asGraph);
            Assert.That(device.Memory.LiveBytes, Is.Zero);
            return outcome;
        }
    }

    [TestCase("sgd", 1)]
    [TestCase("adam", 2)]
    [TestCase("directional", 1)]
    [TestCase("sgd", 1, Precision.Bf16)]
    [TestCase("sgd", 1, Precision.Tf32)]
    [TestCase("adam", 2, Precision.Tf32)]
    public void Twenty_steps_with_a_removal_have_the_bits_of_single_launches(string rule, int accumulate, Precision precision = Precision.Fp32)
    {
        Nvrtc.Require();
        AssertSame(Train(rule, accumulate, false, precision), Train(rule, accumulate, true, precision));
    }

    private static void AssertSame(Outcome single, Outcome graph)
    {
        Assert.That(graph.Removed, Is.EqualTo(single.Removed).And.GreaterThanOrEqualTo(3));
        Assert.That(graph.Recordings, Is.EqualTo(2), "one before the removal and one after it");
        Assert.That(graph.Repetitions, Is.GreaterThanOrEqualTo(10));
        Assert.That(graph.Channels, Is.EqualTo(single.Channels));
        Assert.That(graph.Losses, Is.EqualTo(single.Losses));
        Assert.That(graph.State.Keys, Is.EquivalentTo(single.State.Keys));
        foreach ((string name, float[] values) in graph.State)
        {
            Assert.That(values, Is.EqualTo(single.State[name]), name);
        }
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Dropout_draws_anew_in_every_repetition(bool isChecked)
    {
        Nvrtc.Require();
        float[] single = Losses(false, out _);
        float[] repeated = Losses(true, out long repetitions);
        Assert.That(repetitions, Is.GreaterThanOrEqualTo(4));
        Assert.That(repeated, Is.EqualTo(single));
        Assert.That(single.Distinct().Count(), Is.GreaterThanOrEqualTo(5), "sums of integers, so that some are equal");

        float[] Losses(bool asGraph, out long repetitions)
        {
            using CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: isChecked, Workers: 2)));
            using DropoutNetwork network = new(device);
            using Parameter weight = new("w", ParameterRole.Weight, Ones(device, new Shape(5, 40)));
            using Sgd optimizer = new([new ParameterGroup([weight], 0)]);
            return Run(device, optimizer, asGraph, 9, out repetitions, out _, step =>
            {
                network.BeginStep(step);
                return () => Operation.Sum(Operation.Linear(network.Forward(weight.Value), weight.Value, default));
            });
        }
    }

    [TestCase("random numbers", "uniform (operation 1) gets other arguments from step to step")]
    [TestCase("upload", "a copy from the host, whose bytes a repetition would not know, is part of it")]
    [TestCase("download", "a copy to the host, which waits for the device, is part of it")]
    [TestCase("structure", "operation 2 is ")]
    public void What_differs_from_step_to_step_is_never_repeated(string difference, string expected)
    {
        Nvrtc.Require();
        float[] single = Losses(false, out _);
        float[] refused = Losses(true, out string? refusal);
        Assert.That(refusal, Does.Contain(expected));
        Assert.That(refused, Is.EqualTo(single), "the step in which it was found out counts once");

        float[] Losses(bool asGraph, out string? refusal)
        {
            using CudaDevice device = new("emulated", new EmulatedDriver(new EmulatorOptions(Checked: false, Workers: 2)));
            using Parameter weight = new("w", ParameterRole.Weight, Ones(device, new Shape(5, 40)));
            using Sgd optimizer = new([new ParameterGroup([weight], 0.01)]);
            return Run(device, optimizer, asGraph, 7, out _, out refusal, step => () =>
            {
                Tensor factors = difference switch
                {
                    "random numbers" => Tensor.Uniform(device, new Shape(40), new RandomKey(1, 0, (ulong)step)),
                    "upload" => Tensor.FromValues(device, new Shape(40), [.. Enumerable.Range(0, 40).Select(i => i * 0.1f + step)]),
                    _ => Tensor.Full(device, new Shape(40), 0.3f),
                };
                if (difference == "structure" && step % 2 == 1)
                {
                    factors = factors * 2;
                }

                Tensor loss = Operation.Sum(weight.Value * factors);
                return difference == "download" ? loss * (loss.ToScalar() > 0 ? 1 : 2) : loss;
            });
        }
    }

    private static float[] Run(
        CudaDevice device, Optimizer optimizer, bool asGraph, int steps, out long repetitions, out string? refusal, Func<int, Func<Tensor>> prepare)
    {
        using StepGraph graph = new(device, optimizer, []);
        using Tensor kept = Tensor.AllocateUnscoped(device, new Shape(1));
        device.Clear(kept.Buffer);
        float[] losses = new float[steps];
        for (int step = 0; step < steps; step++)
        {
            Func<Tensor> forward = prepare(step);
            if (asGraph)
            {
                graph.Run(Passes, 1, 0);
            }
            else
            {
                Passes();
                optimizer.Step();
            }

            losses[step] = kept.ToScalar();

            void Passes()
            {
                using TensorScope scope = new();
                Tensor loss = forward();
                device.Copy(loss.Buffer.Slice(0, sizeof(float)), kept.Buffer.Slice(0, sizeof(float)));
                loss.Backward();
            }
        }

        (repetitions, refusal) = (graph.Repetitions, graph.Refusal);
        return losses;
    }

    private static Tensor Ones(CudaDevice device, Shape shape)
    {
        Tensor tensor = Tensor.AllocateUnscoped(device, shape);
        device.Elementwise.Fill(shape, tensor.Buffer, 1);
        return tensor;
    }

    private sealed class DropoutNetwork : Module
    {
        private readonly Dropout dropout;

        public DropoutNetwork(Device device)
            : base(device) => dropout = Register("drop", new Dropout(device, 0.5f, 3));

        public override Tensor Forward(Tensor input) => dropout.Forward(input);
    }

    private static Outcome Train(string rule, int accumulate, bool asGraph, Precision precision)
    {
        EmulatedDriver driver = new(new EmulatorOptions(Checked: false, Workers: 2));
        Outcome outcome;
        using (CudaDevice device = new("emulated", driver, precision: precision))
        {
            outcome = Train(device, rule, accumulate, asGraph);
            Assert.That(device.Memory.LiveBytes, Is.Zero);
        }

        Assert.That(driver.Leaks, Is.Empty);
        return outcome;
    }

    private static Outcome Train(CudaDevice device, string rule, int accumulate, bool asGraph)
    {
        EmulatedDriver? driver = device.Context.Driver as EmulatedDriver;
        const int Steps = 20;
        using Model model = ModelFactory.Create(Recipe, device);
        model.Initialize(3);
        foreach (Parameter shift in model.Parameters.Where(parameter => parameter.Role == ParameterRole.NormalizationShift))
        {
            float[] values = shift.Value.ToArray();
            Array.Fill(values, 0.5f);
            shift.Value.CopyFrom(values);
        }

        Silence(model, "layer1.0.bn1.bias", 1);
        Silence(model, "layer3.1.bn1.bias", 0, 7);

        // Of a block's output, so that its shortcut reads through a map once it is removed.
        Silence(model, "layer1.1.bn2.bias", 3);
        IReadOnlyList<ParameterGroup> groups = PruningRun.CreateGroups(model, 0.01, 5e-4);
        using Optimizer optimizer = rule switch
        {
            "adam" => new Adam(groups) { MaximumGradientNorm = 1 },
            "directional" => new DirectionalPruning(groups, 1e-4, 0.6, 0.9),
            _ => new Sgd(groups),
        };
        optimizer.NoiseSeed = 7;
        DemonPruningOptions options = new() { Lambda = 0.01, NoiseStandardDeviation = 1e-3, PruneEvery = 10, FoldConstants = false };
        using PruningRun pruning = new(model, optimizer, new DemonPruning(options), Steps, Recipe.InputShape(Batch), Batch * accumulate);
        using Tensor census = Tensor.AllocateUnscoped(device, Recipe.InputShape(Batch));
        device.Random.Uniform(census.Shape, new RandomKey(2, 0, 0), -1, 1, census.Buffer);
        pruning.CensusImages = visit => visit(census);
        Tensor[] images = [.. Enumerable.Range(0, accumulate).Select(_ => Tensor.AllocateUnscoped(device, Recipe.InputShape(Batch)))];
        using Tensor labels = Tensor.AllocateUnscoped(device, new Shape(Batch), ElementType.Int32);
        device.Clear(labels.Buffer);
        device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes<int>([0, 3, 7, 9]), labels.Buffer);
        using Tensor losses = Tensor.AllocateUnscoped(device, new Shape(accumulate));
        device.Clear(losses.Buffer);
        using StepGraph graph = new(device, optimizer, model.Activities);
        Action passes = Passes;
        List<float> seen = [];
        int removed = 0;
        for (int step = 0; step < Steps; step++)
        {
            for (int i = 0; i < accumulate; i++)
            {
                device.Random.Uniform(images[i].Shape, new RandomKey(1, (uint)i, (ulong)step), -1, 1, images[i].Buffer);
            }

            foreach (ParameterGroup group in optimizer.Groups)
            {
                group.LearningRate = 0.01 / (1 + step);
            }

            model.BeginStep(step);
            pruning.BeforeStep(step);
            long repetitions = graph.Repetitions;
            if (asGraph)
            {
                // What waits in the emulator's queue would run, and allocate, when the step's upload looks for a free slot.
                device.Synchronize();
                long waits = driver?.SynchronizingCalls ?? 0;
                long managed = GC.GetAllocatedBytesForCurrentThread();
                pruning.TakeStep(graph, passes, 1.0 / accumulate);
                managed = GC.GetAllocatedBytesForCurrentThread() - managed;
                if (graph.Repetitions > repetitions)
                {
                    Assert.That((driver?.SynchronizingCalls ?? 0) - waits, Is.Zero, "a repeated step never waits");
                    Assert.That(managed, step % 10 > 5 ? Is.Zero : Is.AtLeast(0), $"managed bytes of step {step}");
                }
            }
            else
            {
                passes();
                pruning.Update(1.0 / accumulate);
            }

            seen.AddRange(losses.ToArray());
            removed += pruning.AfterStep(step + 1)?.Removed ?? 0;
        }

        Dictionary<string, float[]> state = model.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value.ToArray());
        foreach (Parameter parameter in optimizer.Parameters)
        {
            int index = 0;
            foreach (Tensor moment in optimizer.MomentsOf(parameter))
            {
                state[$"{parameter.Name}, moment {index++}"] = moment.ToArray();
            }
        }

        foreach (ChannelActivity activity in model.Activities)
        {
            state[activity.Name] = [.. activity.ReadActive().Select(flag => flag ? 1f : 0)];
        }

        Array.ForEach(images, tensor => tensor.Dispose());
        Assert.That(graph.Refusal, Is.Null);
        Assert.That(model.Shortcuts.Count(entry => entry.Shortcut.Map is not null), Is.GreaterThanOrEqualTo(1));
        return new Outcome([.. seen], state, model.Activities.ToDictionary(activity => activity.Name, activity => activity.OriginalChannels), removed, graph.Recordings, graph.Repetitions);

        void Passes()
        {
            for (int i = 0; i < accumulate; i++)
            {
                using TensorScope scope = new();
                Tensor loss = Operation.SoftmaxCrossEntropy(model.Forward(images[i]), labels);
                device.Copy(loss.Buffer.Slice(0, sizeof(float)), losses.Buffer.Slice(i * sizeof(float), sizeof(float)));
                loss.Backward();
            }
        }
    }

    private static void Silence(Model model, string bias, params int[] channels)
    {
        Parameter parameter = model.Parameters.Single(candidate => candidate.Name == bias);
        float[] values = parameter.Value.ToArray();
        foreach (int channel in channels)
        {
            values[channel] = -50;
        }

        parameter.Value.CopyFrom(values);
    }
}
