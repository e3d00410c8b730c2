using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Layers.Models;
using Saturn.Prune;
using Saturn.Training.Data;

namespace Saturn.Training.Lab;

/// <summary>What moves the weights in <see cref="NoiseExperiment"/>.</summary>
public enum NoiseSource
{
    /// <summary>w ← w − ηĝ, plain stochastic gradient descent.</summary>
    Sgd,

    /// <summary>w ← w − η(ĝ − g): its noise alone, g the gradient over all images.</summary>
    SgdNoise,

    /// <summary>w ← w + σ·N(0, 1) where the image's gradient is not zero.</summary>
    Asymmetric,

    /// <summary>w ← w + σ·N(0, 1) everywhere.</summary>
    Symmetric,
}

/// <summary>Settings of <see cref="NoiseExperiment"/>.</summary>
public sealed record NoiseExperimentOptions
{
    /// <summary>What moves the weights.</summary>
    public NoiseSource Source { get; init; } = NoiseSource.SgdNoise;

    /// <summary>η.</summary>
    public double LearningRate { get; init; } = 0.01;

    /// <summary>σ of Gaussian noise; null for η·√η, a step of the rule on noise of standard deviation √(η/batch), as in the authors' experiment.</summary>
    public double? NoiseStandardDeviation { get; init; }

    /// <summary>Steps.</summary>
    public int Steps { get; init; } = 5000;

    /// <summary>Steps from one full gradient to the next; 1 is the definition, more reuse an old g.</summary>
    public int FullGradientEvery { get; init; } = 25;

    /// <summary>Steps from one count of the dead to the next.</summary>
    public int CountEvery { get; init; } = 250;

    /// <summary>Training images, of which the dead are counted on all.</summary>
    public int Images { get; init; } = 10_000;

    /// <summary>Units of the first hidden layer; the second has a third of them.</summary>
    public int Width { get; init; } = 300;

    /// <summary>Seed of weights, order and noise.</summary>
    public ulong Seed { get; init; }

    /// <summary>Checks every value.</summary>
    public void Validate()
    {
        Require(LearningRate > 0 && double.IsFinite(LearningRate), "lr", "above 0", LearningRate);
        Require(NoiseStandardDeviation is null or >= 0, "noise-std", "0 or above", NoiseStandardDeviation);
        Require(Steps >= 1, "steps", "at least 1", Steps);
        Require(FullGradientEvery >= 1, "full-gradient-every", "at least 1", FullGradientEvery);
        Require(CountEvery >= 1, "every", "at least 1", CountEvery);
        Require(Images >= 1, "images", "at least 1", Images);
        Require(Width >= 3, "width", "at least 3", Width);
    }

    private static void Require(bool condition, string option, string expected, object? actual)
    {
        if (!condition)
        {
            throw new ArgumentException($"--{option} must be {expected}, but is {actual}.");
        }
    }
}

/// <summary>
/// How noise alone kills units ("Maxwell's Demon at Work", section 2 and Fig. 9): a perceptron of two hidden ReLU layers on a subset of the images, one image a step, moved by the noise of stochastic gradient descent, by
/// Gaussian noise on live weights, or by Gaussian noise on all. A unit is dead when it is zero on all images of the subset.
/// </summary>
public sealed class NoiseExperiment : IDisposable
{
    private const uint NoiseStream = 0xA9;
    private const int GradientBatch = 500;

    private readonly NoiseExperimentOptions options;
    private readonly ImageDataset images;
    private readonly Model model;
    private readonly Parameter[] parameters;
    private readonly Tensor[] full;
    private readonly Tensor[] noise;
    private readonly ChannelGraph graph;
    private readonly Mortality mortality;

    /// <summary>Prepares the network.</summary>
    /// <param name="device">Where to train.</param>
    /// <param name="images">The subset.</param>
    /// <param name="options">Settings.</param>
    public NoiseExperiment(Device device, ImageDataset images, NoiseExperimentOptions options)
    {
        options.Validate();
        this.options = options;
        this.images = images;
        ModelRecipe recipe = new("mlp", options.Width, images.Classes, images.Height, images.Width, images.Channels, "relu", options.Seed);
        model = ModelFactory.Create(recipe, device);
        model.Initialize(options.Seed);
        parameters = [.. model.Parameters];
        full = [.. parameters.Select(parameter => Tensor.AllocateUnscoped(device, parameter.Shape))];
        noise = [.. parameters.Select(parameter => Tensor.AllocateUnscoped(device, parameter.Shape))];
        graph = ChannelGraph.Trace(model, recipe.InputShape(1));
        mortality = new Mortality(new Accounting(model, graph).Dense);
    }

    /// <summary>The network.</summary>
    public Model Model => model;

    /// <summary>σ of Gaussian noise.</summary>
    public double NoiseStandardDeviation => options.NoiseStandardDeviation ?? options.LearningRate * Math.Sqrt(options.LearningRate);

    /// <summary>Runs the experiment.</summary>
    /// <param name="cancellation">Stops between steps.</param>
    public DeathCurve Run(CancellationToken cancellation = default)
    {
        List<DeathCount> counts = [Count(0)];
        int[] order = [];
        for (int step = 0; step < options.Steps; step++)
        {
            cancellation.ThrowIfCancellationRequested();
            if (step % images.Count == 0)
            {
                order = EpochOrder.Of(images.Count, options.Seed, step / images.Count);
            }

            Step(step, order[step % images.Count]);
            if ((step + 1) % options.CountEvery == 0 || step + 1 == options.Steps)
            {
                counts.Add(Count(step + 1));
            }
        }

        string name = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{Name(options.Source)} lr={options.LearningRate:g} seed={options.Seed}");
        return new DeathCurve(name, [.. graph.Groups.Select(group => group.Name)], [.. graph.Groups.Select(group => group.Channels)], counts);
    }

    /// <summary>Takes one step on one image.</summary>
    /// <param name="step">The step, from 0.</param>
    /// <param name="image">The image.</param>
    public void Step(int step, int image)
    {
        if (options.Source == NoiseSource.SgdNoise && step % options.FullGradientEvery == 0)
        {
            TakeFullGradient();
        }

        if (options.Source != NoiseSource.Symmetric)
        {
            Evaluator.ForEachBatch(model.Device, images, [image], 1, (x, y) => Operation.SoftmaxCrossEntropy(model.Forward(x), y).Backward());
        }

        IElementwiseKernels elementwise = model.Device.Elementwise;
        float rate = (float)options.LearningRate;
        for (int i = 0; i < parameters.Length; i++)
        {
            Parameter parameter = parameters[i];
            Tensor weight = parameter.Value;
            switch (options.Source)
            {
                case NoiseSource.Sgd:
                    elementwise.Accumulate(weight.Shape, parameter.Gradient.Buffer, weight.Buffer, -rate);
                    break;
                case NoiseSource.SgdNoise:
                    elementwise.Accumulate(weight.Shape, parameter.Gradient.Buffer, weight.Buffer, -rate);
                    elementwise.Accumulate(weight.Shape, full[i].Buffer, weight.Buffer, rate);
                    break;
                default:
                    model.Device.Random.Normal(weight.Shape, new RandomKey(options.Seed, NoiseStream ^ parameter.TensorId, (ulong)step), 0, (float)NoiseStandardDeviation, noise[i].Buffer);
                    if (options.Source == NoiseSource.Asymmetric)
                    {
                        MaskByGradient(parameter.Gradient, noise[i], full[i]);
                    }

                    elementwise.Accumulate(weight.Shape, noise[i].Buffer, weight.Buffer);
                    break;
            }

            parameter.ClearGradient();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in full.Concat(noise))
        {
            tensor.Dispose();
        }

        model.Dispose();
    }

    private static string Name(NoiseSource source) => source switch
    {
        NoiseSource.Sgd => "sgd",
        NoiseSource.SgdNoise => "sgd-noise",
        NoiseSource.Asymmetric => "asymmetric",
        _ => "symmetric",
    };

    /// <summary>noise ← noise where the gradient is not 0, else 0.</summary>
    private static void MaskByGradient(Tensor gradient, Tensor noise, Tensor scratch)
    {
        IElementwiseKernels elementwise = gradient.Device.Elementwise;
        elementwise.Unary(UnaryOperation.Sign, gradient.Shape, gradient.Buffer, scratch.Buffer);
        elementwise.Unary(UnaryOperation.Absolute, gradient.Shape, scratch.Buffer, scratch.Buffer);
        elementwise.Binary(BinaryOperation.Multiply, noise.Shape, noise.Buffer, noise.Shape, scratch.Buffer, noise.Shape, noise.Buffer);
    }

    /// <summary>The mean gradient over all images at the present weights.</summary>
    private void TakeFullGradient()
    {
        for (int i = 0; i < parameters.Length; i++)
        {
            model.Device.Clear(full[i].Buffer);
        }

        int[] all = [.. Enumerable.Range(0, images.Count)];
        Evaluator.ForEachBatch(model.Device, images, all, GradientBatch, (x, y) =>
        {
            Operation.SoftmaxCrossEntropy(model.Forward(x), y).Backward();
            for (int i = 0; i < parameters.Length; i++)
            {
                // The loss is the batch's mean; the last batch may be smaller.
                model.Device.Elementwise.Accumulate(parameters[i].Shape, parameters[i].Gradient.Buffer, full[i].Buffer, (float)x.Shape[0] / images.Count);
                parameters[i].ClearGradient();
            }
        });
    }

    private DeathCount Count(int step)
    {
        int[] all = [.. Enumerable.Range(0, images.Count)];
        return mortality.Count(step, graph, Census.Take(model, graph, visit => Evaluator.ForEachBatch(model.Device, images, all, GradientBatch, (batch, _) => visit(batch))));
    }
}
