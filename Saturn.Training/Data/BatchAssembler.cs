using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Training.Data;

/// <summary>
/// Turns images into network inputs: normalised, pitched NHWC, augmented if asked. An image's crop and flip follow from seed, epoch and the image's number alone, so
/// they do not depend on batch, order or prefetching.
/// </summary>
public sealed class BatchAssembler
{
    private const uint AugmentationStream = 0x4155;
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

    /// <summary>Writes one image as it is.</summary>
    public void Write(int image, Span<float> destination) => Write(image, destination, 0, 0, false);

    /// <summary>Writes one image with its crop and flip of an epoch.</summary>
    public void WriteAugmented(int image, ulong seed, int epoch, Span<float> destination)
    {
        PhiloxSequence random = new(new RandomKey(seed, AugmentationStream, (ulong)epoch), (uint)image);
        int padding = dataset.Preparation.CropPadding;
        int down = random.NextInteger(2 * padding + 1) - padding;
        int right = random.NextInteger(2 * padding + 1) - padding;
        bool flip = random.NextInteger(2) == 1 && dataset.Preparation.Flip;
        Write(image, destination, down, right, flip);
    }

    private void Write(int image, Span<float> destination, int down, int right, bool flip)
    {
        int channels = dataset.Channels;
        ReadOnlySpan<byte> source = dataset.Images.AsSpan(image * dataset.Height * dataset.Width * channels, dataset.Height * dataset.Width * channels);
        destination[..ImageFloats].Clear();
        for (int row = 0; row < dataset.Height; row++)
        {
            int sourceRow = row + down;
            if ((uint)sourceRow >= (uint)dataset.Height)
            {
                continue;
            }

            for (int column = 0; column < dataset.Width; column++)
            {
                int sourceColumn = (flip ? dataset.Width - 1 - column : column) + right;
                if ((uint)sourceColumn >= (uint)dataset.Width)
                {
                    continue;
                }

                int from = (sourceRow * dataset.Width + sourceColumn) * channels;
                int to = (row * dataset.Width + column) * Pitch;
                for (int c = 0; c < channels; c++)
                {
                    destination[to + c] = source[from + c] * scale[c] + offset[c];
                }
            }
        }
    }
}
