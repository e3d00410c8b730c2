using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;

namespace Saturn.Training.Data;

/// <summary>
/// Turns images into network inputs: normalised, pitched NHWC, augmented if asked. An image's crop and flip follow from seed, epoch and the image's number alone, so
/// they do not depend on batch, order or prefetching.
/// </summary>
public sealed class BatchAssembler
{
    /// <summary>What the random numbers of crops and flips are for.</summary>
    public const uint AugmentationStream = 0x4155;

    private readonly ImageDataset dataset;
    private readonly float[] scale;
    private readonly float[] offset;

    /// <summary>Creates an assembler for a data set.</summary>
    public BatchAssembler(ImageDataset dataset)
    {
        this.dataset = dataset;
        Pitch = Shape.PitchOf(dataset.Channels);
        scale = new float[dataset.Channels];
        offset = new float[dataset.Channels];
        for (int c = 0; c < scale.Length; c++)
        {
            scale[c] = 1 / (255 * dataset.Preparation.StandardDeviation[c]);
            offset[c] = -dataset.Preparation.Mean[c] / dataset.Preparation.StandardDeviation[c];
        }
    }

    /// <summary>Floats from one pixel to the next.</summary>
    public int Pitch { get; }

    /// <summary>Floats of one image.</summary>
    public int ImageFloats => dataset.Height * dataset.Width * Pitch;

    /// <summary>By channel: 1/(255·standard deviation).</summary>
    public ReadOnlySpan<float> Scale => scale;

    /// <summary>By channel: −mean/standard deviation.</summary>
    public ReadOnlySpan<float> Offset => offset;

    /// <summary>Writes one image as it is.</summary>
    public void Write(int image, Span<float> destination) => Write(image, destination, default);

    /// <summary>Writes one image with its crop and flip of an epoch.</summary>
    public void WriteAugmented(int image, ulong seed, int epoch, Span<float> destination)
    {
        PhiloxSequence random = new(new RandomKey(seed, AugmentationStream, (ulong)epoch), (uint)image);
        Write(image, destination, ImageAssembly.Draw(random, dataset.Preparation.CropPadding, dataset.Preparation.Flip));
    }

    private void Write(int image, Span<float> destination, (int Down, int Right, bool Mirrored) change)
    {
        int bytes = dataset.Height * dataset.Width * dataset.Channels;
        ImageAssembly.Write(dataset.Images.AsSpan(image * bytes, bytes), dataset.Height, dataset.Width, scale, offset, change, destination[..ImageFloats]);
    }
}
