using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Families;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Engine;

/// <summary>Filter gradients that stay in parts until somebody needs their sum: the same bits whoever adds them.</summary>
[TestFixtureSource(nameof(DeviceNames))]
public sealed class GradientPartsTests(string device) : EngineTest(device)
{
    private static readonly string[] DeviceNames = TestDevices.TensorNames;
    private static readonly Shape Images = new(4, 8, 8, 7);

    [Test]
    public void The_gradient_is_their_sum()
    {
        using Parameter weight = Weight();
        using Parameter bias = new("b", ParameterRole.Bias, Values(new Shape(5), 3));
        Backward(weight, bias);
        Assert.That(weight.GradientParts, Is.GreaterThan(1));
        float[] stored = new float[weight.GradientParts * weight.Shape.StorageCount];
        Device.Download(weight.GradientStorage, MemoryMarshal.AsBytes(stored.AsSpan()));
        float[] sum = new float[weight.Shape.ElementCount];
        for (int i = 0; i < stored.Length; i++)
        {
            long place = i % weight.Shape.StorageCount;
            if (place % weight.Shape.Pitch < weight.Shape.Channels)
            {
                sum[place / weight.Shape.Pitch * weight.Shape.Channels + place % weight.Shape.Pitch] += stored[i];
            }
        }

        Assert.That(weight.Gradient.ToArray(), Is.EqualTo(sum));
        Assert.That(weight.GradientParts, Is.EqualTo(1));
        Assert.That(bias.Gradient.ToArray(), Has.All.EqualTo(4 * 8 * 8));
    }

    [TestCase(false)]
    [TestCase(true)]
    public void An_update_from_parts_is_the_update_from_their_sum(bool adam) =>
        Assert.That(Train(adam, null, finish: false), Is.EqualTo(Train(adam, null, finish: true)));

    [Test]
    public void Clipping_and_accumulation_take_the_sum()
    {
        Assert.That(Train(true, 0.5, finish: false), Is.EqualTo(Train(true, 0.5, finish: true)));
        using Parameter one = Weight();
        using Parameter other = Weight();
        Backward(one, null);
        Backward(one, null);
        Assert.That(one.GradientParts, Is.EqualTo(1), "the second backward pass has added to the first one's sum");
        Backward(other, null);
        float[] single = other.Gradient.ToArray();
        Assert.That(one.Gradient.ToArray(), Is.EqualTo(single.Select(value => value + value)));
    }

    [Test]
    public void A_cleared_gradient_in_parts_is_gone_and_a_smaller_value_frees_them()
    {
        using Parameter weight = Weight();
        Backward(weight, null);
        weight.ClearGradient();
        Assert.That(() => weight.Gradient, Throws.InvalidOperationException);
        Backward(weight, null);
        int buffers = Device.Memory.LiveBuffers;
        weight.Replace(Values(new Shape(3, 3, 3, 7), 2));
        Assert.That(Device.Memory.LiveBuffers, Is.LessThan(buffers));
        Assert.That(weight.HasGradient, Is.False);
        Backward(weight, null);
        Assert.That(weight.Gradient.Shape, Is.EqualTo(weight.Shape));
    }

    [Test]
    public void A_steady_step_allocates_nothing()
    {
        Nvrtc.Require();
        using CudaDevice idle = new("idle", new IdleDriver(), precision: Precision.Tf32);
        using Tensor images = Tensor.AllocateUnscoped(idle, Images);
        using Parameter weight = new("w", ParameterRole.Weight, Tensor.AllocateUnscoped(idle, new Shape(5, 3, 3, 7)));
        using Sgd optimizer = new([new ParameterGroup([weight], 0.1)]);
        for (int i = 0; i < 20; i++)
        {
            Step();
        }

        long managed = GC.GetAllocatedBytesForCurrentThread();
        long live = idle.Memory.LiveBytes;
        for (int i = 0; i < 20; i++)
        {
            Step();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - managed, Is.Zero);
        Assert.That(idle.Memory.LiveBytes, Is.EqualTo(live));
        Assert.That(weight.GradientParts, Is.GreaterThan(1));

        void Step()
        {
            using TensorScope scope = new();
            Operation.Sum(Operation.Convolution(images, weight.Value, default, ConvolutionSettings.Square(padding: 1))).Backward();
            optimizer.Step();
        }
    }

    private float[] Train(bool adam, double? norm, bool finish)
    {
        using Parameter weight = Weight();
        ParameterGroup[] groups = [new ParameterGroup([weight], 0.01)];
        using Optimizer optimizer = adam ? new Adam(groups) : new Sgd(groups);
        optimizer.MaximumGradientNorm = norm;
        for (int step = 0; step < 3; step++)
        {
            Backward(weight, null);
            if (finish)
            {
                _ = weight.Gradient;
            }

            optimizer.Step();
        }

        return [.. weight.Value.ToArray(), .. optimizer.MomentsOf(weight).SelectMany(moment => moment.ToArray())];
    }

    private void Backward(Parameter weight, Parameter? bias)
    {
        using TensorScope scope = new();
        using Tensor images = Values(Images, 1);
        Operation.Sum(Operation.Convolution(images, weight.Value, bias?.Value ?? default, ConvolutionSettings.Square(padding: 1))).Backward();
    }

    private Parameter Weight() => new("w", ParameterRole.Weight, Values(new Shape(5, 3, 3, 7), 2));

    private Tensor Values(Shape shape, ulong seed)
    {
        Tensor tensor = Tensor.AllocateUnscoped(Device, shape);
        Device.Random.Uniform(shape, new RandomKey(seed, 0, 0), -1, 1, tensor.Buffer);
        return tensor;
    }
}
