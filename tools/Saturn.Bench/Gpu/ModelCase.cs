using Saturn.Bench.Works;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Layers.Models;

namespace Saturn.Bench.Gpu;

/// <summary>A model whose training step is measured on a GPU.</summary>
/// <param name="Model">resnet18, resnet50 or vgg16.</param>
/// <param name="Width">Dense channels of the first stage.</param>
/// <param name="Batch">Images a step.</param>
/// <param name="Image">Pixels of a side.</param>
/// <param name="Classes">Outputs.</param>
/// <param name="LiveShare">Share of the channels that is left, 0 &lt; share ≤ 1.</param>
/// <param name="MappedShortcuts">Whether every second block of a stage has lost some channels more, so that residual sums read their shortcut through a map.</param>
public sealed record ModelCase(string Model, int Width, int Batch, int Image, int Classes, double LiveShare, bool MappedShortcuts = false)
{
    /// <summary>The shares that are measured.</summary>
    public static IReadOnlyList<double> Shares { get; } = [1, 0.75, 0.5, 0.25];

    // What pruning leaves is no round number: 31, 65, 127 and 253 at half of 64, 128, 256 and 512.
    private static readonly int[] Offsets = [-1, 1, -1, -3, -1, 1];

    /// <summary>What stands in the table.</summary>
    public string Name => LiveShare == 1 ? Model : $"{Model}, {BenchTable.Percent(LiveShare)} live{(MappedShortcuts ? ", mapped shortcuts" : "")}";

    /// <summary>Channels of each unit group; empty for the dense model.</summary>
    public IReadOnlyDictionary<string, int> Plan => MakePlan(Model, Width, Image, Classes, LiveShare, MappedShortcuts);

    /// <summary>The wanted ratio of PyTorch's time to Saturn's, as it runs by default and compiled, for ResNet-18; null for others.</summary>
    public (RatioTarget? Eager, RatioTarget? Compiled) Targets => (Model, LiveShare) switch
    {
        ("resnet18", 1) => (new RatioTarget(2, 3), new RatioTarget(0.7, 1)),
        ("resnet18", 0.5) => (null, new RatioTarget(1, 1.4)),
        ("resnet50", 1) => (null, new RatioTarget(0.6, 0.85)),
        _ => (null, null),
    };

    /// <summary>The cases of one model: dense, at each share, and at half with mapped shortcuts where it has shortcuts.</summary>
    /// <param name="model">resnet18, resnet50 or vgg16.</param>
    /// <param name="width">Dense channels of the first stage.</param>
    /// <param name="batch">Images a step; null for the model's own.</param>
    /// <param name="image">Pixels of a side; null for the model's own.</param>
    /// <exception cref="ArgumentException">The model is none of the three.</exception>
    public static IEnumerable<ModelCase> Of(string model, int width, int? batch, int? image)
    {
        (int ownBatch, int ownImage, int classes) = model switch
        {
            "resnet18" or "vgg16" => (128, 32, 10),
            "resnet50" => (64, 224, 1000),
            _ => throw new ArgumentException($"Unknown model '{model}' of this bench; known: resnet18, resnet50, vgg16."),
        };
        ModelCase dense = new(model, width, batch ?? ownBatch, image ?? ownImage, classes, 1);
        foreach (double share in Shares)
        {
            yield return dense with { LiveShare = share };
            if (share == 0.5 && model != "vgg16")
            {
                yield return dense with { LiveShare = share, MappedShortcuts = true };
            }
        }
    }

    /// <summary>The training step on a device.</summary>
    public ModelStepWorkload Open(Device device) =>
        new(device, new ModelRecipe(Model, Width, Classes, Image, Image, 3), new ChannelPlan(Plan), Batch);

    private static Dictionary<string, int> MakePlan(string model, int width, int image, int classes, double share, bool mapped)
    {
        Dictionary<string, int> plan = [];
        if (share == 1)
        {
            return plan;
        }

        using CpuDevice host = new(1);
        using Model dense = ModelFactory.Create(new ModelRecipe(model, width, classes, image, image, 3), host);
        foreach (var group in dense.Activities)
        {
            int stage = Math.Max(0, (int)Math.Log2((double)group.Channels / width));
            int count = Math.Max(1, (int)Math.Round(group.Channels * share) + Offsets[stage % Offsets.Length]);
            bool secondBlock = group.Name.Split('.') is [['l', 'a', 'y', 'e', 'r', ..], "1" or "3" or "5"];
            plan[group.Name] = mapped && secondBlock ? Math.Max(1, count - count / 8) : count;
        }

        return plan;
    }
}
