using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers;
using Saturn.Layers.Models;
using Saturn.Tests.Engine;

namespace Saturn.Tests.Layers;

/// <summary>Residual blocks that lose their branch, and shortcuts that read fewer channels.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.Names))]
public sealed class ResidualBlockTests(string device) : EngineTest(device)
{
    private static readonly Shape Input = new(2, 5, 5, 3);

    [Test]
    public void Without_its_branch_a_block_is_shortcut_plus_beta([Values] bool bottleneck, [Values] bool projects)
    {
        using ResidualBlock block = Block(bottleneck, projects, new ChannelPlan());
        Fill(block);
        Parameter beta = block.Parameters.Single(parameter => parameter.Name == (bottleneck ? "bn3.bias" : "bn2.bias"));
        float[] shift = [.. Enumerable.Range(0, beta.Rows).Select(c => 0.3f * c - 0.5f)];
        beta.Value.CopyFrom(shift);

        // The block before: a dead inner group gives the last convolution zeros, and its norm in training turns them into β.
        foreach (Parameter inner in block.Parameters.Where(parameter => parameter.Name is "bn1.weight" or "bn1.bias"))
        {
            inner.Value.CopyFrom([.. Enumerable.Repeat(inner.IsNormalization && inner.Name == "bn1.bias" ? -1f : 0f, inner.Rows)]);
        }

        float[] before = Run(block, out float[] betaGradientBefore);
        block.Activities.First().AllRemoved!();
        float[] after = Run(block, out float[] betaGradient);
        if (!bottleneck)
        {
            Assert.That(after, Is.EqualTo(before).Within(1e-6));
            Assert.That(betaGradient, Is.EqualTo(betaGradientBefore).Within(1e-4));
        }

        float[] shortcut = projects ? Projection(block) : Values();
        int channels = beta.Rows;
        Assert.That(after, Is.EqualTo(shortcut.Select((value, i) => Math.Max(0, value + shift[i % channels]))).Within(1e-6));
        Assert.That(block.Parameters.Count(), Is.EqualTo(projects ? 6 : 1), "β, and the five parameters of a projection");
        Assert.That(block.Activities.Where(activity => activity.Channels > 0).Select(activity => activity.Name), Is.EqualTo((string[])[""]));
    }

    [Test]
    public void A_plan_of_zero_builds_the_same_form([Values] bool bottleneck)
    {
        string inner = bottleneck ? "block.conv2" : "block.conv1";
        using ResidualBlock removed = Block(bottleneck, false, new ChannelPlan());
        using ResidualBlock planned = Block(bottleneck, false, new ChannelPlan(new Dictionary<string, int> { [inner] = 0 }));
        Fill(removed);
        removed.Activities.First().AllRemoved!();
        Assert.That(planned.Parameters.Select(parameter => parameter.Name), Is.EqualTo(removed.Parameters.Select(parameter => parameter.Name)));
        Assert.That(
            planned.Activities.Select(activity => (activity.Name, activity.Channels)), Is.EquivalentTo(removed.Activities.Select(activity => (activity.Name, activity.Channels))),
            "the empty groups stay on record, so that a checkpoint written again still knows of them");
        Fill(planned);
        Assert.That(Run(planned, out _), Is.EqualTo(Run(removed, out _)));
    }

    [Test]
    public void A_shortcut_reads_through_its_map()
    {
        // Output channels 0 and 1 of a plan with two outputs read input channels 2 and nothing.
        using ResidualBlock block = Block(false, false, new ChannelPlan(new Dictionary<string, int> { ["block"] = 2, ["block.conv1"] = 0 }));
        Fill(block);
        Assert.That(block.Shortcut!.Map!.Sources.ToArray(), Is.EqualTo((int[])[0, 1]), "without a checkpoint equal numbers face each other");
        block.Shortcut.SetMap(new ShortcutMap([2, -1], 3));
        float[] values = Values();
        float[] expected = [.. Enumerable.Range(0, 50).SelectMany(row => (float[])[Math.Max(0, values[row * 3 + 2]), 0])];
        Assert.That(Run(block, out _), Is.EqualTo(expected));
    }

    private ResidualBlock Block(bool bottleneck, bool projects, ChannelPlan plan) =>
        new(Device, "block", plan, 3, 2, projects ? 7 : 3, projects ? 2 : 1, bottleneck, projects, Activation.Relu);

    private static void Fill(Module module) => Initializer.Initialize(module, 2);

    private float[] Run(ResidualBlock block, out float[] betaGradient)
    {
        using TensorScope scope = new();
        foreach (Parameter parameter in block.Parameters)
        {
            parameter.ClearGradient();
        }

        Tensor output = block.Forward(Tensor.FromValues(Device, Input, Values()));
        Operation.Sum(Operation.Square(output)).Backward();
        betaGradient = block.Parameters.Last(parameter => parameter.Name is "bn2.bias" or "bn3.bias").Gradient.ToArray();
        return output.ToArray();
    }

    /// <summary>The projection by the operations it consists of.</summary>
    private float[] Projection(ResidualBlock block)
    {
        using InferenceScope inference = new();
        using TensorScope scope = new();
        Dictionary<string, Tensor> values = block.Parameters.ToDictionary(parameter => parameter.Name, parameter => parameter.Value);
        Tensor convolved = Operation.Convolution(
            Tensor.FromValues(Device, Input, Values()), values["downsample.0.weight"], default, ConvolutionSettings.Square(2));
        return Operation.BatchNorm(
            convolved, new BatchNormArguments(values["downsample.1.weight"], values["downsample.1.bias"], default, default, Training: true),
            new NormalizationTail(Activation.Identity)).ToArray();
    }

    private static float[] Values() => [.. Enumerable.Range(0, (int)Input.ElementCount).Select(i => MathF.Sin(1.7f * i))];
}
