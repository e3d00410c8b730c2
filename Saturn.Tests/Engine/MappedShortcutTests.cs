using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Engine;

/// <summary>
/// Gradients of a residual sum that reads its source through a map. Where the source was computed on the tape, what the sum sends it may wait for the convolution that writes the source's gradient; to a
/// leaf it is gathered at once. Both must give the same bits.
/// </summary>
[TestFixtureSource(nameof(DeviceNames))]
public sealed class MappedShortcutTests(string device) : EngineTest(device)
{
    private const int SourceChannels = 7;
    private const int SumChannels = 5;

    private static readonly string[] DeviceNames = [.. TestDevices.Names, .. TestDevices.TensorNames];
    private static readonly Shape Images = new(2, 5, 5, SourceChannels);

    private ElementType Stored => Device.Precision == Precision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    [Test]
    public void What_waits_for_the_convolution_has_the_bits_of_what_is_gathered_at_once(
        [Values("block", "reader before", "reader between", "activated between", "reader after", "sum alone", "two sums", "also normalised")] string graph)
    {
        using Shortcut shortcut = Map();
        using Shortcut second = Map(3);
        Assert.That(Run(true), Is.EqualTo(Run(false)));

        float[] Run(bool computed)
        {
            using TensorScope scope = new();
            Tensor leaf = Values(Images, 1);
            if (Stored == ElementType.BFloat16 && !computed)
            {
                leaf = Operation.Convert(leaf, Stored);
            }

            leaf.RequireGradient();
            Tensor source = !computed ? leaf : Stored == ElementType.BFloat16 ? Operation.Convert(leaf, Stored) : leaf * 1;
            Tensor inner = Values(new Shape(3, 3, 3, SourceChannels), 2).RequireGradient();
            Tensor outer = Values(new Shape(SumChannels, 3, 3, 3), 3).RequireGradient();
            Tensor before = graph == "reader before" ? Pool(source) : default;
            Tensor other = graph is "sum alone" or "also normalised" ? Operation.Convert(Values(Images, 4), Stored) : source;
            Tensor hidden = Operation.ConvBatchNormRelu(other, inner, ConvolutionSettings.Square(1, 1), Norm(3), new NormalizationTail(Activation.Relu));
            Tensor between = graph == "reader between" ? Pool(source) : graph == "activated between" ? Operation.Activate(source, Activation.Relu) : default;
            Tensor sum = graph == "also normalised"
                ? Operation.BatchNorm(source, Norm(SourceChannels), new NormalizationTail(Activation.Relu, source, Permutation(second)))
                : Operation.ConvBatchNormRelu(hidden, outer, ConvolutionSettings.Square(1, 1), Norm(SumChannels), new NormalizationTail(Activation.Relu, source, shortcut));
            Tensor loss = Total(sum) + Total(hidden);
            if (graph == "two sums")
            {
                loss += Total(Operation.BatchNorm(
                    Operation.Convolution(hidden, outer, default, ConvolutionSettings.Square(1, 1)), Norm(SumChannels), new NormalizationTail(Activation.Relu, source, second)));
            }

            Tensor after = graph == "reader after" ? Pool(source) : default;
            foreach (Tensor reader in (Tensor[])[before, between, after])
            {
                loss = reader.IsNone ? loss : loss + Total(reader);
            }

            loss.Backward();
            float[] values = [.. leaf.CopyGradient().ToArray(), .. inner.CopyGradient().ToArray()];
            Assert.That(values, Has.All.Matches<float>(float.IsFinite).And.Some.Not.Zero);
            return values;
        }
    }

    [Test]
    public void It_agrees_with_central_differences()
    {
        if (Device.Precision != Precision.Fp32)
        {
            Assert.Pass("Differences of rounded products say nothing; the test above compares bits.");
        }

        using Shortcut shortcut = Map();
        using TensorScope scope = new();
        Tensor[] inputs = [Values(new Shape(1, 3, 3, SourceChannels), 1), Values(new Shape(SumChannels, 1, 1, SourceChannels), 2)];
        GradientCheck.Require(
            GradientCheck.Compare(
                x =>
                {
                    Tensor source = x[0] * 1;
                    return Operation.BatchNorm(
                        Operation.Convolution(source, x[1], default, ConvolutionSettings.Square()), new BatchNormArguments(default, default, default, default, true),
                        new NormalizationTail(Activation.Identity, source, shortcut));
                },
                inputs),
            1e-2);
    }

    private static Shortcut Map(int step = 2)
    {
        // Five channels of the sum read some of the source's seven out of order; one reads nothing.
        Shortcut shortcut = new();
        shortcut.SetMap(new ShortcutMap([6, -1, step, 0, 5], SourceChannels));
        return shortcut;
    }

    private static Shortcut Permutation(Shortcut shortcut)
    {
        shortcut.SetMap(new ShortcutMap([1, 0, 2, -1, 6, 5, 4], SourceChannels));
        return shortcut;
    }

    private static Tensor Pool(Tensor source) => Operation.GlobalAveragePool(source);

    private static Tensor Total(Tensor tensor) => Operation.Sum(Operation.Square(Operation.Convert(tensor, ElementType.Float32)));

    private BatchNormArguments Norm(int channels) =>
        new(Values(new Shape(channels), 5), Values(new Shape(channels), 6), default, default, true);

    private Tensor Values(Shape shape, int seed)
    {
        Random random = new(seed);
        return Tensor.FromValues(Device, shape, [.. Enumerable.Range(0, (int)shape.ElementCount).Select(_ => random.NextSingle() * 2 - 1)]);
    }
}

/// <summary>What a mapped shortcut costs in a training step.</summary>
public sealed class MappedShortcutLaunchTests
{
    [Test]
    public void A_mapped_block_launches_no_more_kernels_than_an_unmapped_one_and_allocates_nothing([Values] Precision precision)
    {
        Nvrtc.Require();
        IdleDriver driver = new();
        using CudaDevice idle = new("idle", driver, precision: precision);
        using Parameter inner = Weight(new Shape(7, 3, 3, 7));
        using Parameter outer = Weight(new Shape(7, 3, 3, 7));
        using Tensor images = Tensor.AllocateUnscoped(idle, new Shape(2, 5, 5, 7));
        using Shortcut shortcut = new();
        long identity = Launches(true);
        long apart = Launches(false);
        shortcut.SetMap(new ShortcutMap([6, -1, 2, 0, 5, 1, 3], 7));
        Assert.That(Launches(true), Is.EqualTo(identity));
        Assert.That(Launches(false), Is.EqualTo(apart + 1), "gathered in a pass of its own, where the convolution reads something else");

        long managed = GC.GetAllocatedBytesForCurrentThread();
        long live = idle.Memory.LiveBytes;
        for (int i = 0; i < 20; i++)
        {
            Step(true);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - managed, Is.Zero);
        Assert.That(idle.Memory.LiveBytes, Is.EqualTo(live));

        long Launches(bool reads)
        {
            for (int i = 0; i < 20; i++)
            {
                Step(reads);
            }

            long before = driver.Launches;
            Step(reads);
            return driver.Launches - before;
        }

        void Step(bool reads)
        {
            using TensorScope scope = new();
            BatchNormArguments norm = new(default, default, default, default, true);
            Tensor source = Operation.ConvBatchNormRelu(images, inner.Value, ConvolutionSettings.Square(1, 1), norm, new NormalizationTail(Activation.Relu));
            Tensor other = reads ? source : Operation.ConvBatchNormRelu(images, inner.Value, ConvolutionSettings.Square(1, 1), norm, new NormalizationTail(Activation.Relu));
            Operation.Sum(Operation.Convert(
                Operation.ConvBatchNormRelu(other, outer.Value, ConvolutionSettings.Square(1, 1), norm, new NormalizationTail(Activation.Relu, source, shortcut)),
                ElementType.Float32)).Backward();
            inner.ClearGradient();
            outer.ClearGradient();
        }

        Parameter Weight(Shape shape) => new("w", ParameterRole.Weight, Tensor.AllocateUnscoped(idle, shape));
    }
}
