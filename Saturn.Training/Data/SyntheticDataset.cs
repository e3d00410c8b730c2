using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Training.Data;

/// <summary>
/// A procedural set of ten classes of 32×32 colour images: disc, ring, square, frame, triangle, cross, plus, horizontal stripes, vertical stripes and checks, each at a random place, size
/// and tilt, in random colours on a random gradient, with specks and noise. Colour and place say nothing of the class, so a linear classifier learns little.
/// </summary>
public static class SyntheticDataset
{
    /// <summary>Pixels of an edge.</summary>
    public const int Size = 32;

    private const int Classes = 10;
    private const uint Stream = 0x5359;

    /// <summary>Generates training and validation images, which differ for every seed and never overlap.</summary>
    public static (ImageDataset Training, ImageDataset Validation) Generate(int training = 6000, int validation = 1000, ulong seed = 1) =>
        (Generate(training, seed, 0), Generate(validation, seed, 1));

    private static ImageDataset Generate(int count, ulong seed, ulong part)
    {
        byte[] images = new byte[count * Size * Size * 3];
        int[] labels = new int[count];
        Parallel.For(0, count, i =>
        {
            // Classes take turns, so every set is balanced; the order of training is shuffled anyway.
            labels[i] = i % Classes;
            Draw(labels[i], new PhiloxSequence(new RandomKey(seed, Stream, part), (uint)i), images.AsSpan(i * Size * Size * 3, Size * Size * 3));
        });
        return new ImageDataset("the synthetic shapes", images, labels, Size, Size, 3, Classes, ImagePreparation.Synthetic);
    }

    private static void Draw(int shape, PhiloxSequence random, Span<byte> image)
    {
        Span<float> foreground = stackalloc float[3];
        Span<float> background = stackalloc float[3];
        Span<float> gradient = stackalloc float[3];
        float contrast;
        do
        {
            contrast = 0;
            for (int c = 0; c < 3; c++)
            {
                foreground[c] = random.NextUniform();
                background[c] = random.NextUniform();
                contrast += Math.Abs(foreground[c] - background[c]);
            }
        }
        while (contrast < 0.75f);

        for (int c = 0; c < 3; c++)
        {
            gradient[c] = (random.NextUniform() - 0.5f) * 0.5f;
        }

        float radius = 6 + 5 * random.NextUniform();
        float centreX = radius + (Size - 2 * radius) * random.NextUniform();
        float centreY = radius + (Size - 2 * radius) * random.NextUniform();
        float tilt = (random.NextUniform() - 0.5f) * 0.7f;
        float phase = random.NextUniform() * 6;
        float direction = random.NextUniform() * MathF.Tau;
        (float sine, float cosine) = MathF.SinCos(tilt);
        (float gradientY, float gradientX) = MathF.SinCos(direction);
        for (int y = 0; y < Size; y++)
        {
            for (int x = 0; x < Size; x++)
            {
                float dx = (x - centreX) / radius;
                float dy = (y - centreY) / radius;
                bool inside = Inside(shape, cosine * dx + sine * dy, cosine * dy - sine * dx, phase);
                float along = ((x - 16) * gradientX + (y - 16) * gradientY) / 16;
                for (int c = 0; c < 3; c++)
                {
                    float noise = (random.NextUniform() + random.NextUniform() + random.NextUniform() - 1.5f) * 0.16f;
                    float value = (inside ? foreground[c] : background[c] + gradient[c] * along) + noise;
                    image[(y * Size + x) * 3 + c] = (byte)(Math.Clamp(value, 0, 1) * 255);
                }
            }
        }

        for (int speck = 0; speck < 6; speck++)
        {
            int at = (random.NextInteger(Size) * Size + random.NextInteger(Size)) * 3;
            for (int c = 0; c < 3; c++)
            {
                image[at + c] = (byte)(foreground[c] * 255);
            }
        }
    }

    private static bool Inside(int shape, float x, float y, float phase)
    {
        float r = MathF.Sqrt(x * x + y * y);
        float edge = Math.Max(Math.Abs(x), Math.Abs(y));
        return shape switch
        {
            0 => r < 0.9f,
            1 => r < 0.95f && r > 0.55f,
            2 => edge < 0.8f,
            3 => edge < 0.88f && edge > 0.52f,
            4 => y < 0.75f && y > -0.85f && Math.Abs(x) < (y + 0.85f) * 0.6f,
            5 => edge < 0.9f && Math.Abs(Math.Abs(x) - Math.Abs(y)) < 0.3f,
            6 => edge < 0.9f && Math.Min(Math.Abs(x), Math.Abs(y)) < 0.25f,
            7 => edge < 0.9f && MathF.Sin(y * 8 + phase) > 0,
            8 => edge < 0.9f && MathF.Sin(x * 8 + phase) > 0,
            _ => edge < 0.9f && MathF.Sin(x * 6 + phase) * MathF.Sin(y * 6 + phase) > 0,
        };
    }
}
