using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Engine;

/// <summary>Steps of directional pruning with noise that remembers a window allocate nothing; on all devices but the emulated one, whose launches do.</summary>
[TestFixtureSource(nameof(Names))]
public sealed class SteadyOptimizerStepTests(string device) : EngineTest(device)
{
    private static readonly string[] Names = [.. TestDevices.Names.Where(name => name != "emulated")];

    [Test]
    public void Neither_managed_nor_device_memory_grows()
    {
        Shape shape = new(40, 19);
        using Tensor images = Values(new Shape(6, 19), 1);
        using ChannelActivity activity = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = 5 };
        using Parameter weight = new("w", ParameterRole.Weight, Values(shape, 2)) { RowActivity = activity };
        using DirectionalPruning optimizer = new([new ParameterGroup([weight], 0.01) { NoiseStandardDeviation = 1e-3 }], 0.01, 0.55, 0.9);
        for (int i = 0; i < 20; i++)
        {
            Step();
        }

        long managed = GC.GetAllocatedBytesForCurrentThread();
        long device = Device.Memory.LiveBytes;
        for (int i = 0; i < 50; i++)
        {
            Step();
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - managed, Is.Zero);
        Assert.That(Device.Memory.LiveBytes, Is.EqualTo(device));

        void Step()
        {
            using TensorScope scope = new();
            activity.Reset();
            Tensor output = Operation.Activate(Operation.Linear(images, weight.Value, default), Activation.Relu, activity);
            Operation.Sum(output).Backward();
            optimizer.Step();
        }
    }

    private Tensor Values(Shape shape, ulong seed)
    {
        Tensor tensor = Tensor.AllocateUnscoped(Device, shape);
        Device.Random.Uniform(shape, new RandomKey(seed, 0, 0), -1, 1, tensor.Buffer);
        return tensor;
    }
}
