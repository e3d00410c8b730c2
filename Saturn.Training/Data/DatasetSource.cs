namespace Saturn.Training.Data;

/// <summary>Opens data sets by a short description.</summary>
public static class DatasetSource
{
    /// <summary>Opens <c>synthetic</c>, <c>mnist:FOLDER</c>, <c>cifar10:FOLDER</c> or <c>cifar100:FOLDER</c>.</summary>
    /// <param name="source">The description.</param>
    /// <param name="trainImages">Keep only so many training images; null for all.</param>
    /// <param name="validationImages">Keep only so many validation images; null for all.</param>
    /// <exception cref="DataException">The description is unknown, or the data cannot be read.</exception>
    public static (ImageDataset Training, ImageDataset Validation) Open(string source, int? trainImages = null, int? validationImages = null)
    {
        int colon = source.IndexOf(':', StringComparison.Ordinal);
        string kind = colon < 0 ? source : source[..colon];
        string folder = colon < 0 ? "" : source[(colon + 1)..];
        if (kind is "mnist" or "cifar10" or "cifar100" && folder.Length == 0)
        {
            throw new DataException($"--data {source} lacks its folder: write {kind}:FOLDER.");
        }

        var (training, validation) = kind switch
        {
            "synthetic" when colon < 0 => SyntheticDataset.Generate(trainImages ?? 6000, validationImages ?? 1000),
            "mnist" => IdxLoader.Load(folder),
            "cifar10" => CifarLoader.LoadCifar10(folder),
            "cifar100" => CifarLoader.LoadCifar100(folder),
            _ => throw new DataException($"Unknown data '{source}'; known: synthetic, mnist:FOLDER, cifar10:FOLDER, cifar100:FOLDER."),
        };
        return (training.Slice(0, trainImages ?? training.Count), validation.Slice(0, validationImages ?? validation.Count));
    }
}
