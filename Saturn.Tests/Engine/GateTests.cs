using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Engine;

/// <summary>Gates on channels against the product that they stand for, x·g with broadcasting, and its gradients.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class GateTests(string device) : EngineTest(device)
{
    [TestCase(1)]
    [TestCase(3)]
    [TestCase(7)]
    [TestCase(37)]
    public void Open_or_moved_they_are_a_product_by_channel(int channels)
    {
        Shape shape = new(5, 16, 9, channels);
        foreach (bool open in (bool[])[true, false])
        {
            using TensorScope scope = new();
            float[] values = [.. Enumerable.Range(0, channels).Select(c => open ? 1 : 1 - 0.3f * c + 0.05f * c * c)];
            values[0] = 1;
            Tensor x = Tensor.Uniform(Device, shape, new RandomKey(1, 0, 0), -1, 1).RequireGradient();
            Tensor weights = Tensor.Uniform(Device, shape, new RandomKey(2, 0, 0), -1, 1);
            Tensor product = Tensor.FromValues(Device, new Shape(channels), values).RequireGradient();
            Tensor expected = x * product;
            Operation.Sum(expected * weights).Backward();
            float[] inputGradient = x.CopyGradient().ToArray();
            float[] gateGradient = product.CopyGradient().ToArray();
            x.ClearGradient();

            using ChannelGates gates = new(Device, channels);
            Assert.That(gates.AreOpen);
            gates.Set(values);
            Assert.That(gates.AreOpen, Is.EqualTo(open || channels == 1));
            Tensor gated = Operation.Gate(x, gates);
            Assert.That(gated.ToArray(), Is.EqualTo(expected.ToArray()));
            Operation.Sum(gated * weights).Backward();
            Assert.That(x.CopyGradient().ToArray(), Is.EqualTo(inputGradient).Within(1e-6));
            Assert.That(gates.ReadGradient(), Is.EqualTo(gateGradient).Within(1e-4));

            // A second batch adds to the first.
            Operation.Sum(Operation.Gate(x, gates) * weights).Backward();
            Assert.That(gates.ReadGradient(), Is.EqualTo(gateGradient.Select(value => 2 * value)).Within(2e-4));
        }
    }

    [Test]
    public void An_input_that_is_read_twice_gets_both_gradients()
    {
        foreach (float value in (float[])[1, 0.5f])
        {
            using TensorScope scope = new();
            using ChannelGates gates = new(Device, 3);
            gates.Set([value, value, value]);
            Tensor leaf = Tensor.Uniform(Device, new Shape(4, 3), new RandomKey(1, 0, 0), -1, 1).RequireGradient();
            Tensor x = leaf * 2;
            Operation.Sum(Operation.Gate(x, gates) + x).Backward();
            Assert.That(leaf.CopyGradient().ToArray(), Is.All.EqualTo(2 * (1 + value)).Within(1e-6));
        }
    }

    [Test]
    public void One_gate_a_channel()
    {
        using TensorScope scope = new();
        using ChannelGates gates = new(Device, 3);
        Tensor x = Tensor.Zeros(Device, new Shape(2, 4));
        Assert.That(() => Operation.Gate(x, gates), Throws.ArgumentException.With.Message.Contains("3 gates do not fit"));
    }
}
