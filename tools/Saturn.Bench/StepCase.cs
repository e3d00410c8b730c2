using Saturn.Kernels;
using Saturn.Layers.Models;

namespace Saturn.Bench;

/// <summary>A ResNet-18 for 32×32 images (3×3 stem, no maximum pooling) whose training step is measured.</summary>
/// <param name="Name">What stands in the table.</param>
/// <param name="Batch">Images a step.</param>
/// <param name="Channels">Channels of the four stages; the stem has the first.</param>
/// <param name="Inner">Channels between the two convolutions of each of the eight blocks; null for those of the block's stage.</param>
public sealed record StepCase(string Name, int Batch, IReadOnlyList<int> Channels, IReadOnlyList<int>? Inner = null)
{
    /// <summary>Channels between the two convolutions of each of the eight blocks.</summary>
    public IReadOnlyList<int> InnerChannels => Inner ?? [.. Enumerable.Range(0, 8).Select(block => Channels[block / 2])];

    /// <summary>What the network is made from.</summary>
    public ModelRecipe Recipe => new("resnet18", Channels[0], 10, 32, 32, 3);

    /// <summary>Its channel counts, by unit group.</summary>
    public ChannelPlan Plan
    {
        get
        {
            Dictionary<string, int> channels = new() { ["conv1"] = Channels[0] };
            for (int block = 0; block < 8; block++)
            {
                channels[$"layer{block / 2 + 1}.{block % 2}"] = Channels[block / 2];
                channels[$"layer{block / 2 + 1}.{block % 2}.conv1"] = InnerChannels[block];
            }

            return new ChannelPlan(channels);
        }
    }

    /// <summary>The training step on a device.</summary>
    public ModelStepWorkload Open(Device device) => new(device, Recipe, Plan, Batch);

    /// <summary>A network whose stages have width, 2·width, 4·width and 8·width channels, of which a share is alive.</summary>
    /// <param name="width">Channels of the first stage when dense.</param>
    /// <param name="batch">Images a step.</param>
    /// <param name="liveFraction">Share of the channels that is left, 0 &lt; share ≤ 1; counts are rounded and at least 1.</param>
    public static StepCase Scaled(int width, int batch, double liveFraction = 1)
    {
        if (!(liveFraction > 0 && liveFraction <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(liveFraction), liveFraction, "The live share of the channels must lie above 0 and at most at 1.");
        }

        int[] channels = [.. Enumerable.Range(0, 4).Select(stage => Math.Max(1, (int)Math.Round((width << stage) * liveFraction)))];
        string live = liveFraction == 1 ? "" : $", {BenchTable.Percent(liveFraction)} of the channels";
        return new StepCase($"ResNet-18 width {width}{live}", batch, channels);
    }

    /// <summary>
    /// What is measured by default: width 64 dense and with three quarters and half of the channels, then width 16.
    /// </summary>
    public static IReadOnlyList<StepCase> Default => [Scaled(64, 32), Scaled(64, 32, 0.75), Scaled(64, 32, 0.5), Scaled(16, 128)];
}
