using System.Buffers.Binary;
using System.IO.Compression;

namespace Saturn.Training.Data;

/// <summary>
/// MNIST's IDX format: a big-endian magic number (0x803 for images, 0x801 for labels), the extents, then bytes. Files may be gzipped.
/// </summary>
public static class IdxLoader
{
    private const int ImageMagic = 0x803;
    private const int LabelMagic = 0x801;

    /// <summary>
    /// Loads a folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and the t10k pair. Where only the t10k pair is there, its last fifth becomes the validation set.
    /// </summary>
    /// <exception cref="DataException">A file is missing, damaged, truncated or of another kind.</exception>
    public static (ImageDataset Training, ImageDataset Validation) Load(string folder)
    {
        if (!Directory.Exists(folder))
        {
            throw new DataException($"The MNIST folder '{folder}' does not exist.");
        }

        string testImages = Find(folder, "t10k-images-idx3-ubyte") ?? throw Missing(folder, "t10k-images-idx3-ubyte");
        string testLabels = Find(folder, "t10k-labels-idx1-ubyte") ?? throw Missing(folder, "t10k-labels-idx1-ubyte");
        ImageDataset test = Load(testImages, testLabels, "MNIST");
        string? trainImages = Find(folder, "train-images-idx3-ubyte");
        if (trainImages is null)
        {
            int split = test.Count - test.Count / 5;
            return (test.Slice(0, split), test.Slice(split, test.Count));
        }

        return (Load(trainImages, Find(folder, "train-labels-idx1-ubyte") ?? throw Missing(folder, "train-labels-idx1-ubyte"), "MNIST"), test);
    }

    /// <summary>Loads one pair of files.</summary>
    public static ImageDataset Load(string imageFile, string labelFile, string name)
    {
        byte[] images = Read(imageFile);
        RequireMagic(images, imageFile, ImageMagic, 16);
        int count = BinaryPrimitives.ReadInt32BigEndian(images.AsSpan(4));
        int height = BinaryPrimitives.ReadInt32BigEndian(images.AsSpan(8));
        int width = BinaryPrimitives.ReadInt32BigEndian(images.AsSpan(12));
        if (count < 1 || height is < 1 or > 4096 || width is < 1 or > 4096)
        {
            throw new DataException($"{imageFile} announces {count} images of {height}×{width} pixels, which cannot be.");
        }

        RequireLength(images, imageFile, 16 + (long)count * height * width);
        byte[] labels = Read(labelFile);
        RequireMagic(labels, labelFile, LabelMagic, 8);
        int labelCount = BinaryPrimitives.ReadInt32BigEndian(labels.AsSpan(4));
        RequireLength(labels, labelFile, 8L + labelCount);
        if (labelCount != count)
        {
            throw new DataException($"{labelFile} holds {labelCount} labels, but {imageFile} holds {count} images.");
        }

        return new ImageDataset(name, images[16..], Array.ConvertAll(labels[8..], label => (int)label), height, width, 1, 10, ImagePreparation.Mnist);
    }

    private static string? Find(string folder, string name)
    {
        string plain = Path.Combine(folder, name);
        return File.Exists(plain) ? plain : File.Exists(plain + ".gz") ? plain + ".gz" : null;
    }

    private static DataException Missing(string folder, string name) => new($"The MNIST folder '{folder}' has neither {name} nor {name}.gz.");

    private static byte[] Read(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        if (!file.EndsWith(".gz", StringComparison.Ordinal))
        {
            return bytes;
        }

        try
        {
            using GZipStream gzip = new(new MemoryStream(bytes), CompressionMode.Decompress);
            using MemoryStream result = new();
            gzip.CopyTo(result);
            return result.ToArray();
        }
        catch (InvalidDataException exception)
        {
            throw new DataException($"{file} is no intact gzip file: {exception.Message}");
        }
    }

    private static void RequireMagic(byte[] bytes, string file, int magic, int header)
    {
        if (bytes.Length < header)
        {
            throw new DataException($"{file} is truncated: a header of {header} bytes was expected, but there are {bytes.Length}.");
        }

        int found = BinaryPrimitives.ReadInt32BigEndian(bytes);
        if (found != magic)
        {
            throw new DataException($"{file} is no IDX file of {(magic == ImageMagic ? "images" : "labels")}: the magic number 0x{magic:x} was expected, but 0x{found:x} came.");
        }
    }

    private static void RequireLength(byte[] bytes, string file, long expected)
    {
        if (bytes.LongLength != expected)
        {
            throw new DataException($"{file} {(bytes.LongLength < expected ? "is truncated" : "is too long")}: {expected} bytes were expected, but there are {bytes.LongLength}.");
        }
    }
}
