namespace Saturn.Training.Data;

/// <summary>
/// The binary versions of CIFAR-10 (records of one label and 3×32×32 bytes) and CIFAR-100 (coarse label, fine label, pixels; fine labels are used).
/// </summary>
public static class CifarLoader
{
    private const int Pixels = 32 * 32;

    /// <summary>Loads data_batch_1.bin … data_batch_5.bin and test_batch.bin.</summary>
    /// <exception cref="DataException">A file is missing, truncated, or holds a label out of range.</exception>
    public static (ImageDataset Training, ImageDataset Validation) LoadCifar10(string folder)
    {
        string place = Locate(folder, "cifar-10-batches-bin", "data_batch_1.bin");
        return (
            Load(place, [.. Enumerable.Range(1, 5).Select(i => $"data_batch_{i}.bin")], "CIFAR-10", 0, 1, 10, ImagePreparation.Cifar10),
            Load(place, ["test_batch.bin"], "CIFAR-10", 0, 1, 10, ImagePreparation.Cifar10));
    }

    /// <summary>Loads train.bin and test.bin.</summary>
    /// <exception cref="DataException">A file is missing, truncated, or holds a label out of range.</exception>
    public static (ImageDataset Training, ImageDataset Validation) LoadCifar100(string folder)
    {
        string place = Locate(folder, "cifar-100-binary", "train.bin");
        return (
            Load(place, ["train.bin"], "CIFAR-100", 1, 2, 100, ImagePreparation.Cifar100),
            Load(place, ["test.bin"], "CIFAR-100", 1, 2, 100, ImagePreparation.Cifar100));
    }

    private static string Locate(string folder, string inner, string file)
    {
        if (!Directory.Exists(folder))
        {
            throw new DataException($"The CIFAR folder '{folder}' does not exist.");
        }

        return File.Exists(Path.Combine(folder, file)) || !Directory.Exists(Path.Combine(folder, inner)) ? folder : Path.Combine(folder, inner);
    }

    private static ImageDataset Load(string folder, string[] files, string name, int labelByte, int labelBytes, int classes, ImagePreparation preparation)
    {
        int record = labelBytes + 3 * Pixels;
        List<byte[]> contents = [];
        foreach (string file in files)
        {
            string path = Path.Combine(folder, file);
            if (!File.Exists(path))
            {
                throw new DataException($"The {name} folder '{folder}' has no {file}; the binary version of the data set is needed.");
            }

            byte[] bytes = File.ReadAllBytes(path);
            if (bytes.Length == 0 || bytes.Length % record != 0)
            {
                throw new DataException(
                    $"{path} is truncated or no {name} file: a whole number of {record}-byte records was expected, but there are {bytes.Length} bytes ({bytes.Length % record} left over).");
            }

            for (int i = 0; i < bytes.Length / record; i++)
            {
                if (bytes[i * record + labelByte] >= classes)
                {
                    throw new DataException($"The label of record {i} of {path} is {bytes[i * record + labelByte]}, but {name} has {classes} classes, 0 … {classes - 1}.");
                }
            }

            contents.Add(bytes);
        }

        int count = contents.Sum(bytes => bytes.Length / record);
        byte[] images = new byte[(long)count * 3 * Pixels];
        int[] labels = new int[count];
        int index = 0;
        foreach (byte[] bytes in contents)
        {
            for (int start = 0; start < bytes.Length; start += record)
            {
                labels[index] = bytes[start + labelByte];

                // The file holds one plane a colour; Saturn keeps the channels of a pixel together.
                for (int channel = 0; channel < 3; channel++)
                {
                    for (int pixel = 0; pixel < Pixels; pixel++)
                    {
                        images[((long)index * Pixels + pixel) * 3 + channel] = bytes[start + labelBytes + channel * Pixels + pixel];
                    }
                }

                index++;
            }
        }

        return new ImageDataset(name, images, labels, 32, 32, 3, classes, preparation);
    }
}
