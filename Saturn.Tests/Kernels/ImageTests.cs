using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Training.Data;

namespace Saturn.Tests.Kernels;

/// <summary>Batches out of images in device memory against those that the host assembles: the same bits.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class ImageTests(string device) : KernelTest(device)
{
    private const int Count = 20;

    [TestCase(1, 0, true)]
    [TestCase(3, 4, true)]
    [TestCase(3, 4, false)]
    [TestCase(7, 1, true)]
    [TestCase(37, 2, true)]
    public void A_batch_has_the_bits_of_the_host(int channels, int cropPadding, bool augment)
    {
        const int Batch = 6, Skip = 3, First = 5, Epoch = 4;
        const ulong Seed = 11;
        ImageDataset dataset = Dataset(channels, cropPadding);
        BatchAssembler assembler = new(dataset);
        int[] order = EpochOrder.Of(Count, Seed, Epoch);
        Shape shape = new(Batch, dataset.Height, dataset.Width, channels);
        float[] expected = new float[shape.StorageCount];
        for (int i = 0; i < Batch; i++)
        {
            Span<float> image = expected.AsSpan(i * assembler.ImageFloats, assembler.ImageFloats);
            if (augment)
            {
                assembler.WriteAugmented(order[First + Skip + i], Seed, Epoch, image);
            }
            else
            {
                assembler.Write(order[First + Skip + i], image);
            }
        }

        Assert.That(augment && cropPadding > 0 ? expected.Count(value => value == 0) : 1, Is.Positive);
        (uint key0, uint key1) = Philox.DeriveKey(Seed, Epoch);
        ImageSet set = new(
            UploadPacked<byte>(dataset.Images), UploadPacked<int>(dataset.Labels), dataset.Height, dataset.Width, channels, UploadPacked(assembler.Scale), UploadPacked(assembler.Offset),
            cropPadding, dataset.Preparation.Flip);
        ImageSelection selection = new(Batch, UploadPacked<int>(order), UploadPacked<uint>([First, key0, key1]), Skip, BatchAssembler.AugmentationStream, augment);
        float[] actual = Twice(() =>
        {
            DeviceBuffer images = Poisoned(shape);
            DeviceBuffer labels = PoisonedBytes(Batch * sizeof(int));
            Device.Images.Assemble(set, selection, images, labels);
            Assert.That(DownloadPacked<int>(labels, Batch), Is.EqualTo(Enumerable.Range(0, Batch).Select(i => dataset.Labels[order[First + Skip + i]])));
            return DownloadPacked<float>(images, expected.Length);
        });
        Assert.That(actual, Is.EqualTo(expected), "padding included");
        if (Device.Kind != DeviceKind.Cpu)
        {
            DeviceBuffer halves = PoisonedBytes(shape.StorageCount * 2) with { Type = ElementType.BFloat16 };
            Device.Images.Assemble(set, selection, halves, Allocate(Batch * sizeof(int)));
            Assert.That(DownloadPacked<ushort>(halves, expected.Length), Is.EqualTo(expected.Select(NearestEven)));
        }
        else
        {
            DeviceBuffer halves = PoisonedBytes(shape.StorageCount * 2) with { Type = ElementType.BFloat16 };
            Assert.That(() => Device.Images.Assemble(set, selection, halves, Allocate(Batch * sizeof(int))), Throws.TypeOf<NotSupportedException>());
        }
    }

    // Sizes of no power of two, more than one block of pixels, and bytes and labels without a pattern.
    private static ImageDataset Dataset(int channels, int cropPadding)
    {
        const int Height = 19, Width = 23;
        Random random = new(3);
        byte[] images = new byte[Count * Height * Width * channels];
        random.NextBytes(images);
        int[] labels = [.. Enumerable.Range(0, Count).Select(_ => random.Next(10))];
        float[] mean = [.. Enumerable.Range(0, channels).Select(_ => random.NextSingle())];
        float[] deviation = [.. Enumerable.Range(0, channels).Select(_ => 0.1f + random.NextSingle())];
        return new ImageDataset("random", images, labels, Height, Width, channels, 10, new ImagePreparation(mean, deviation, cropPadding, true));
    }

    private static ushort NearestEven(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
}
