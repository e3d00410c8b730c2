namespace Saturn.Training.Data;

/// <summary>Labelled images in memory.</summary>
public sealed class ImageDataset
{
    /// <summary>Takes images and labels over.</summary>
    /// <param name="name">The set's name.</param>
    /// <param name="images">Bytes [count, height, width, channels].</param>
    /// <param name="labels">Classes, 0 … classes − 1.</param>
    /// <param name="height">Pixels.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="channels">Channels.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="preparation">How pixels become network inputs.</param>
    /// <exception cref="DataException">Sizes do not agree, or a label is out of range.</exception>
    public ImageDataset(string name, byte[] images, int[] labels, int height, int width, int channels, int classes, ImagePreparation preparation)
    {
        if (labels.Length == 0)
        {
            throw new DataException($"{name} holds no images.");
        }

        if (images.LongLength != (long)labels.Length * height * width * channels)
        {
            throw new DataException(
                $"{name} has {labels.Length} labels, which need {(long)labels.Length * height * width * channels} bytes of {height}×{width}×{channels} images, but {images.LongLength} came.");
        }

        int bad = Array.FindIndex(labels, label => (uint)label >= (uint)classes);
        if (bad >= 0)
        {
            throw new DataException($"The label of image {bad} of {name} is {labels[bad]}, but there are {classes} classes, 0 … {classes - 1}.");
        }

        Name = name;
        Images = images;
        Labels = labels;
        Height = height;
        Width = width;
        Channels = channels;
        Classes = classes;
        Preparation = preparation;
    }

    /// <summary>The set's name.</summary>
    public string Name { get; }

    /// <summary>Bytes [count, height, width, channels].</summary>
    public byte[] Images { get; }

    /// <summary>Classes.</summary>
    public int[] Labels { get; }

    /// <summary>Pixels.</summary>
    public int Height { get; }

    /// <summary>Pixels.</summary>
    public int Width { get; }

    /// <summary>Channels.</summary>
    public int Channels { get; }

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    /// <summary>How pixels become network inputs.</summary>
    public ImagePreparation Preparation { get; }

    /// <summary>Number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>The images from one index on, at most so many.</summary>
    public ImageDataset Slice(int first, int count)
    {
        int bytes = Height * Width * Channels;
        count = Math.Min(count, Count - first);
        return new ImageDataset(
            Name, Images[(first * bytes)..((first + count) * bytes)], Labels[first..(first + count)], Height, Width, Channels, Classes, Preparation);
    }
}

/// <summary>How pixels become network inputs: (value/255 − mean)/std by channel, and the random changes that training images undergo.</summary>
/// <param name="Mean">By channel.</param>
/// <param name="StandardDeviation">By channel.</param>
/// <param name="CropPadding">Zero pixels (after normalization) around the image before a random crop of the original size; 0 for no crop.</param>
/// <param name="Flip">Whether half of the images are mirrored.</param>
public sealed record ImagePreparation(float[] Mean, float[] StandardDeviation, int CropPadding, bool Flip)
{
    /// <summary>CIFAR-10's usual statistics, crop and flip.</summary>
    public static ImagePreparation Cifar10 { get; } = new([0.4914f, 0.4822f, 0.4465f], [0.2023f, 0.1994f, 0.2010f], 4, true);

    /// <summary>CIFAR-100's usual statistics, crop and flip.</summary>
    public static ImagePreparation Cifar100 { get; } = new([0.5071f, 0.4865f, 0.4409f], [0.2673f, 0.2564f, 0.2762f], 4, true);

    /// <summary>MNIST's usual statistics; digits are neither cropped nor mirrored.</summary>
    public static ImagePreparation Mnist { get; } = new([0.1307f], [0.3081f], 0, false);

    /// <summary>The synthetic set: roughly centred, cropped and mirrored.</summary>
    public static ImagePreparation Synthetic { get; } = new([0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f], 2, true);
}
