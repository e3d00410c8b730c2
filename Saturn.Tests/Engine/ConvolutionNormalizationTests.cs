using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;
using Saturn.Tests.Cuda;
using Saturn.Training;

namespace Saturn.Tests.Engine;

/// <summary>A convolution fused with its normalization against the same in operations of their own, with every kernel run twice: on tensor cores, and on the host.</summary>
[TestFixtureSource(nameof(Names))]
public sealed class ConvolutionNormalizationTests(string device)
{
    private static IEnumerable<string> Names => TestDevices.TensorNames.Where(name => name.EndsWith("tf32", StringComparison.Ordinal));

    [Test]
    public void Fused_is_the_same_as_apart([Values] bool training, [Values] bool residual, [Values(7, 40)] int channels)
    {
        Nvrtc.Require();

        // The observer downloads what a kernel has not written yet, which the checked emulator does not let pass.
        Device inner = device.StartsWith("emulated", StringComparison.Ordinal) ? Devices.Open("emulated:fast", 3, Precision.Tf32) : TestDevices.Open(device);
        using ObservedDevice observed = new(inner, new Observation(Tolerance: 2e-3));
        using (TensorScope scope = new())
        using (InferenceScope inference = new())
        {
            Shape shape = new(3, 6, 6, channels);
            Tensor input = Random(new Shape(3, 6, 6, 5), 1, 0);
            Tensor weight = Random(new Shape(channels, 3, 3, 5), 2, 0);
            Tensor gamma = Random(new Shape(channels), 3, 0);
            Tensor beta = Random(new Shape(channels), 4, -0.5f);
            Tensor shortcut = residual ? Random(shape, 5, 0) : default;
            ConvolutionSettings settings = ConvolutionSettings.Square(padding: 1);
            var (fused, fusedFlags, fusedMean, fusedVariance) = Run(
                (norm, tail) => Operation.ConvBatchNormRelu(input, weight, settings, norm, tail));
            var (apart, flags, mean, variance) = Run(
                (norm, tail) => Operation.BatchNorm(Operation.Convolution(input, weight, default, settings), norm, tail));
            AssertEqual(fused, apart, "output");
            AssertEqual(fusedMean, mean, "running mean");
            AssertEqual(fusedVariance, variance, "running variance");
            Assert.That(fusedFlags, Is.EqualTo(flags));

            (float[] Output, uint[] Flags, float[] Mean, float[] Variance) Run(Func<BatchNormArguments, NormalizationTail, Tensor> operation)
            {
                using ChannelActivity activity = new(observed, channels, Activation.Relu);
                Tensor mean = Random(new Shape(channels), 6, 0);
                Tensor variance = Random(new Shape(channels), 7, 2);
                Tensor output = operation(new BatchNormArguments(gamma, beta, mean, variance, training), new NormalizationTail(Activation.Relu, shortcut, null, activity));
                uint[] words = new uint[ActivityReport.WordCount(channels)];
                observed.Download(activity.Flags, MemoryMarshal.AsBytes(words.AsSpan()));
                return (output.ToArray(), words, mean.ToArray(), variance.ToArray());
            }
        }

        Assert.That(observed.Memory.LiveBytes, Is.Zero);

        Tensor Random(Shape shape, int seed, float offset)
        {
            Random random = new(seed);
            return Tensor.FromValues(observed, shape, [.. Enumerable.Range(0, (int)shape.ElementCount).Select(_ => random.NextSingle() * 2 - 1 + offset)]);
        }
    }

    private static void AssertEqual(float[] actual, float[] expected, string what)
    {
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.That(actual[i], Is.EqualTo(expected[i]).Within(2e-5), $"{what}, element {i}");
        }
    }
}
