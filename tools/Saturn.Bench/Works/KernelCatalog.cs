namespace Saturn.Bench.Works;

/// <summary>All kernel calls that are measured, in the same order at every scale; what matters most comes first, since a bench may run out of time.</summary>
public static class KernelCatalog
{
    /// <summary>The works at a scale.</summary>
    public static IReadOnlyList<KernelWork> At(WorkScale scale) =>
    [
        .. ConvolutionWorks.Of(scale).Where(work => work.Name.StartsWith("resnet18", StringComparison.Ordinal) || work.Name.StartsWith("width", StringComparison.Ordinal)),
        .. NormalizationWorks.Of(scale), .. FusionWorks.Of(scale), .. OptimizerWorks.Of(scale), .. BandwidthWorks.Of(scale), .. ConvolutionVariantWorks.Of(scale), .. RearrangementWorks.Of(scale), .. ProductWorks.Of(scale),
        .. ConvolutionWorks.Of(scale).Where(work => work.Name.StartsWith("resnet50", StringComparison.Ordinal) || work.Name.StartsWith("vgg16", StringComparison.Ordinal)),
    ];

    /// <summary>The indices of the works whose name or family contains one of the words, upper and lower case alike.</summary>
    /// <param name="works">A catalog.</param>
    /// <param name="filter">Words with commas between them; null for all.</param>
    /// <exception cref="ArgumentException">Nothing fits; the message lists the families.</exception>
    public static IReadOnlyList<int> Select(IReadOnlyList<KernelWork> works, string? filter)
    {
        string[] words = filter?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [];
        int[] found = [.. Enumerable.Range(0, works.Count).Where(i => words.Length == 0 || words.Any(word => Contains(works[i].Name, word) || Contains(works[i].Family, word)))];
        return found.Length > 0
            ? found
            : throw new ArgumentException(
                $"No kernel's name or family contains '{filter}'. Families: {string.Join(", ", works.Select(work => work.Family).Distinct())}; names begin with, for example, '{works[0].Name}'.");
    }

    private static bool Contains(string text, string word) => text.Contains(word, StringComparison.OrdinalIgnoreCase);
}
