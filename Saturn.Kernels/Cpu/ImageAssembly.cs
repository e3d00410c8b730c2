using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cpu;

/// <summary>The arithmetic of <see cref="IImageKernels"/> on the host, for one image: also for batches that the host assembles.</summary>
public static class ImageAssembly
{
    /// <summary>Draws how an image is moved and mirrored.</summary>
    /// <param name="random">The image's random numbers.</param>
    /// <param name="cropPadding">Zero pixels around the image.</param>
    /// <param name="flip">Whether images may be mirrored.</param>
    public static (int Down, int Right, bool Mirrored) Draw(PhiloxSequence random, int cropPadding, bool flip)
    {
        int down = random.NextInteger(2 * cropPadding + 1) - cropPadding;
        int right = random.NextInteger(2 * cropPadding + 1) - cropPadding;
        return (down, right, random.NextInteger(2) == 1 && flip);
    }

    /// <summary>Writes an image [height, width, channels], moved and mirrored, into pitched pixels.</summary>
    /// <param name="source">Bytes [height, width, channels].</param>
    /// <param name="height">Pixels.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="scale">By channel.</param>
    /// <param name="offset">By channel.</param>
    /// <param name="change">How it is moved and mirrored.</param>
    /// <param name="destination">Height times width pitched pixels.</param>
    public static void Write(
        ReadOnlySpan<byte> source, int height, int width, ReadOnlySpan<float> scale, ReadOnlySpan<float> offset, (int Down, int Right, bool Mirrored) change, Span<float> destination)
    {
        int channels = scale.Length;
        int pitch = Shape.PitchOf(channels);
        destination.Clear();
        for (int row = 0; row < height; row++)
        {
            int sourceRow = row + change.Down;
            if ((uint)sourceRow >= (uint)height)
            {
                continue;
            }

            for (int column = 0; column < width; column++)
            {
                int sourceColumn = (change.Mirrored ? width - 1 - column : column) + change.Right;
                if ((uint)sourceColumn >= (uint)width)
                {
                    continue;
                }

                int from = (sourceRow * width + sourceColumn) * channels;
                int to = (row * width + column) * pitch;
                for (int c = 0; c < channels; c++)
                {
                    destination[to + c] = source[from + c] * scale[c] + offset[c];
                }
            }
        }
    }
}
