using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Autograd;
using Saturn.Engine.Operations;
using Saturn.Kernels;

namespace Saturn.Tests.Engine;

/// <summary>Ownership, shapes and errors of tensors.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class TensorTests(string device) : EngineTest(device)
{
    [Test]
    public void Values_survive_the_pitched_layout([Values(1, 3, 7, 8, 37)] int channels)
    {
        float[] values = [.. Enumerable.Range(0, 6 * channels).Select(i => (float)i)];
        using Tensor tensor = Tensor.FromValues(Device, new Shape(2, 3, channels), values);
        Assert.That(tensor.ToArray(), Is.EqualTo(values));
        Assert.That(tensor.Buffer.ByteLength, Is.EqualTo(6L * Shape.PitchOf(channels) * 4));
    }

    [Test]
    public void A_scope_frees_what_was_made_in_it_and_keeps_what_it_is_told_to()
    {
        Tensor kept;
        Tensor freed;
        using (TensorScope outer = new())
        {
            using (TensorScope inner = new())
            {
                freed = Tensor.Full(Device, new Shape(3), 1);
                kept = inner.Keep(freed * 2);
            }

            Assert.That(kept.ToArray(), Is.EqualTo(new float[] { 2, 2, 2 }));
            Assert.That(() => freed.ToArray(), Throws.TypeOf<ObjectDisposedException>());
        }

        Assert.That(() => kept.Shape, Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void A_stale_tensor_does_not_see_the_handle_s_next_life()
    {
        Tensor first = Tensor.Full(Device, new Shape(3), 1);
        first.Dispose();
        using Tensor second = Tensor.Full(Device, new Shape(5), 2);
        Assert.That(first.IsAlive, Is.False);
        Assert.That(() => first.Buffer, Throws.TypeOf<ObjectDisposedException>());
        first.Dispose();
        Assert.That(second.ToArray(), Is.EqualTo(new float[] { 2, 2, 2, 2, 2 }));
    }

    [Test]
    public void Scopes_must_close_in_reverse_order()
    {
        TensorScope outer = new();
        TensorScope inner = new();
        string? message = null;
        try
        {
            outer.Dispose();
        }
        catch (InvalidOperationException exception)
        {
            message = exception.Message;
        }

        inner.Dispose();
        outer.Dispose();
        Assert.That(message, Does.Contain("reverse order"));
    }

    [Test]
    public void Gradients_accumulate_over_two_backward_passes()
    {
        using Parameter parameter = new("w", ParameterRole.Weight, UnscopedFull(new Shape(3), 2));
        for (int i = 0; i < 2; i++)
        {
            using TensorScope scope = new();
            Operation.Sum(Operation.Square(parameter.Value)).Backward();
        }

        Assert.That(parameter.Gradient.ToArray(), Is.EqualTo(new float[] { 8, 8, 8 }));
        parameter.ClearGradient();
        Assert.That(() => parameter.Gradient, Throws.InvalidOperationException);
    }

    [Test]
    public void Nothing_is_recorded_inside_an_inference_scope()
    {
        using Parameter parameter = new("w", ParameterRole.Weight, UnscopedFull(new Shape(3), 2));
        using TensorScope scope = new();
        Tensor loss;
        using (InferenceScope inference = new())
        {
            loss = Operation.Sum(parameter.Value);
        }

        Assert.That(Tape.Current.Count, Is.Zero);
        Assert.That(() => loss.Backward(), Throws.InvalidOperationException);
    }

    [Test]
    public void Shapes_that_do_not_fit_are_named()
    {
        using TensorScope scope = new();
        Tensor a = Tensor.Zeros(Device, new Shape(2, 3));
        Tensor b = Tensor.Zeros(Device, new Shape(2, 4));
        Assert.That(() => a + b, Throws.ArgumentException.With.Message.Contains("[2, 3] and [2, 4]"));
        Assert.That(() => Operation.MatrixMultiply(a, b), Throws.ArgumentException.With.Message.Contains("[m, k] and [k, n]"));
        Assert.That(() => a.CopyFrom(new float[5]), Throws.ArgumentException.With.Message.Contains("6 values"));
        Assert.That(() => a.Backward(), Throws.ArgumentException.With.Message.Contains("one number"));
        Assert.That(() => new Shape(1, 0), Throws.ArgumentException.With.Message.Contains("at least 1"));
    }

    private Tensor UnscopedFull(Shape shape, float value)
    {
        Tensor tensor = Tensor.AllocateUnscoped(Device, shape);
        Device.Elementwise.Fill(shape, tensor.Buffer, value);
        return tensor;
    }
}
