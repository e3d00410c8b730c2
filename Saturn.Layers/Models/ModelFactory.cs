using Saturn.Kernels;

namespace Saturn.Layers.Models;

/// <summary>Builds models by name.</summary>
public static class ModelFactory
{
    /// <summary>The names that <see cref="Create"/> understands.</summary>
    public static IReadOnlyList<string> Names { get; } = ["mlp", "cnn", "resnet18", "resnet34", "resnet50", "vgg16", "vit"];

    /// <summary>Builds a model.</summary>
    /// <param name="recipe">What to build.</param>
    /// <param name="device">Where.</param>
    /// <param name="plan">Widths of a pruned network; null for the dense one.</param>
    /// <exception cref="ArgumentException">The name is unknown; the message lists those that are known.</exception>
    public static Model Create(ModelRecipe recipe, Device device, ChannelPlan? plan = null)
    {
        RequirePositive(recipe.Width, nameof(recipe.Width));
        RequirePositive(recipe.Classes, nameof(recipe.Classes));
        RequirePositive(recipe.InputHeight, nameof(recipe.InputHeight));
        RequirePositive(recipe.InputWidth, nameof(recipe.InputWidth));
        RequirePositive(recipe.InputChannels, nameof(recipe.InputChannels));
        Model model = Build(recipe, device, plan ?? new ChannelPlan());
        string[] unknown = [.. (plan?.Groups ?? []).Except(model.Activities.Select(activity => activity.Name))];
        if (unknown.Length > 0)
        {
            string known = string.Join(", ", model.Activities.Select(activity => activity.Name));
            model.Dispose();
            throw new ArgumentException($"The channel plan names {string.Join(", ", unknown)}, but the unit groups of {recipe.Name} are {known}.", nameof(plan));
        }

        return model;
    }

    private static Model Build(ModelRecipe recipe, Device device, ChannelPlan plan) =>
        recipe.Name switch
        {
            "mlp" => new Mlp(device, recipe, plan),
            "cnn" => new SmallConvNet(device, recipe, plan),
            "resnet18" => new ResNet(device, recipe, plan, [2, 2, 2, 2], bottleneck: false),
            "resnet34" => new ResNet(device, recipe, plan, [3, 4, 6, 3], bottleneck: false),
            "resnet50" => new ResNet(device, recipe, plan, [3, 4, 6, 3], bottleneck: true),
            "vgg16" => new Vgg(device, recipe, plan),
            "vit" => new VisionTransformer(device, recipe, plan),
            _ => throw new ArgumentException($"Unknown model '{recipe.Name}'; known: {string.Join(", ", Names)}."),
        };

    private static void RequirePositive(int value, string what)
    {
        if (value < 1)
        {
            throw new ArgumentException($"{what} of a model recipe must be at least 1, but is {value}.");
        }
    }
}
