using System.Buffers.Binary;
using System.IO.Compression;
using NUnit.Framework;
using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Training.Data;

namespace Saturn.Tests.Training;

/// <summary>Loaders on tiny files, each kind of damage, and the order and augmentation of batches.</summary>
public sealed class DataTests
{
    private string root = "";

    [SetUp]
    public void CreateFolder() => root = Directory.CreateTempSubdirectory("saturn-tests-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(root, recursive: true);

    [Test]
    public void Idx_files_are_read_plain_and_zipped([Values] bool zipped)
    {
        WriteIdx(10, zipped);
        var (training, validation) = DatasetSource.Open("mnist:" + root);
        Assert.That((training.Count, validation.Count), Is.EqualTo((8, 2)));
        Assert.That((training.Height, training.Width, training.Channels), Is.EqualTo((3, 2, 1)));
        Assert.That(validation.Labels, Is.EqualTo(new[] { 8, 9 }));
        Assert.That(validation.Images[0], Is.EqualTo(8 * 6));
    }

    [Test]
    public void Damaged_idx_files_are_named_with_what_is_wrong()
    {
        Assert.That(() => DatasetSource.Open("mnist:" + Path.Combine(root, "none")), Throws.TypeOf<DataException>().With.Message.Contains("does not exist"));
        Assert.That(() => DatasetSource.Open("mnist:" + root), Throws.TypeOf<DataException>().With.Message.Contains("t10k-images"));
        WriteIdx(10, false);
        string images = Path.Combine(root, "t10k-images-idx3-ubyte");
        byte[] bytes = File.ReadAllBytes(images);
        File.WriteAllBytes(images, bytes[..^3]);
        Assert.That(() => DatasetSource.Open("mnist:" + root), Throws.TypeOf<DataException>().With.Message.Contains("76 bytes were expected, but there are 73"));
        File.WriteAllBytes(images, [9, 9, 9, 9, .. bytes[4..]]);
        Assert.That(() => DatasetSource.Open("mnist:" + root), Throws.TypeOf<DataException>().With.Message.Contains("magic number 0x803 was expected"));
        File.WriteAllBytes(images, bytes);
        string labels = Path.Combine(root, "t10k-labels-idx1-ubyte");
        byte[] labelBytes = File.ReadAllBytes(labels);
        labelBytes[^1] = 77;
        File.WriteAllBytes(labels, labelBytes);
        Assert.That(() => DatasetSource.Open("mnist:" + root), Throws.TypeOf<DataException>().With.Message.Contains("label of image 9").And.Message.Contains("77"));
        File.Delete(images);
        File.WriteAllBytes(images + ".gz", [1, 2, 3, 4, 5]);
        Assert.That(() => DatasetSource.Open("mnist:" + root), Throws.TypeOf<DataException>().With.Message.Contains("gzip"));
    }

    [Test]
    public void Cifar_records_become_interleaved_pixels()
    {
        WriteCifar(3);
        var (training, validation) = DatasetSource.Open("cifar10:" + root);
        Assert.That((training.Count, validation.Count), Is.EqualTo((15, 3)));
        Assert.That(validation.Labels, Is.EqualTo(new[] { 0, 1, 2 }));
        Assert.That(validation.Images[..6], Is.EqualTo(new byte[] { 10, 20, 30, 10, 20, 30 }));
    }

    [Test]
    public void Damaged_cifar_files_are_named_with_what_is_wrong()
    {
        WriteCifar(3);
        string file = Path.Combine(root, "data_batch_3.bin");
        byte[] bytes = File.ReadAllBytes(file);
        File.WriteAllBytes(file, bytes[..^1]);
        Assert.That(() => DatasetSource.Open("cifar10:" + root), Throws.TypeOf<DataException>().With.Message.Contains("data_batch_3.bin").And.Message.Contains("3073-byte records"));
        bytes[3073] = 12;
        File.WriteAllBytes(file, bytes);
        Assert.That(() => DatasetSource.Open("cifar10:" + root), Throws.TypeOf<DataException>().With.Message.Contains("record 1").And.Message.Contains("is 12"));
        File.Delete(file);
        Assert.That(() => DatasetSource.Open("cifar10:" + root), Throws.TypeOf<DataException>().With.Message.Contains("has no data_batch_3.bin"));
    }

    [Test]
    public void Unknown_data_are_refused_with_the_known_ones()
    {
        Assert.That(() => DatasetSource.Open("imagenet:x"), Throws.TypeOf<DataException>().With.Message.Contains("known: synthetic"));
        Assert.That(() => DatasetSource.Open("cifar10"), Throws.TypeOf<DataException>().With.Message.Contains("cifar10:FOLDER"));
    }

    [Test]
    public void Real_digits_are_read_where_they_are()
    {
        string? folder = Environment.GetEnvironmentVariable("SATURN_DATA");
        if (folder is null || !Directory.Exists(Path.Combine(folder, "mnist")))
        {
            Assert.Ignore("SATURN_DATA names no folder with real data in mnist/.");
        }

        var (training, validation) = DatasetSource.Open("mnist:" + Path.Combine(folder, "mnist"));
        Assert.That((training.Count, validation.Count), Is.EqualTo((8000, 2000)));
        Assert.That(training.Labels[..5], Is.EqualTo(new[] { 7, 2, 1, 0, 4 }));
    }

    [Test]
    public void The_order_of_an_epoch_is_a_permutation_that_follows_from_seed_and_epoch()
    {
        int[] order = EpochOrder.Of(1000, 3, 5);
        Assert.That(order.Order(), Is.EqualTo(Enumerable.Range(0, 1000)));
        Assert.That(EpochOrder.Of(1000, 3, 5), Is.EqualTo(order));
        Assert.That(EpochOrder.Of(1000, 3, 6), Is.Not.EqualTo(order));
    }

    [Test]
    public void Batches_do_not_depend_on_where_an_epoch_is_entered()
    {
        var (training, _) = SyntheticDataset.Generate(100, 10);
        BatchAssembler assembler = new(training);
        using CpuDevice device = new(1);
        float[] fromStart = BatchThree(0);
        Assert.That(BatchThree(3), Is.EqualTo(fromStart));

        float[] BatchThree(int first)
        {
            using TrainingBatches batches = new(training, assembler, 16, 2, first, 9, augment: true);
            Assert.That(batches.Count, Is.EqualTo(6), "the last partial batch is dropped");
            using Tensor images = Tensor.AllocateUnscoped(device, new Shape(16, training.Height, training.Width, training.Channels));
            using Tensor labels = Tensor.AllocateUnscoped(device, new Shape(16), ElementType.Int32);
            for (int b = first; b <= 3; b++)
            {
                batches.Next(images, labels);
            }

            return images.ToArray();
        }
    }

    [Test]
    public void Images_are_normalised_into_pitched_pixels()
    {
        var (training, _) = SyntheticDataset.Generate(10, 10);
        BatchAssembler assembler = new(training);
        float[] image = new float[assembler.ImageFloats];
        assembler.Write(4, image);
        Assert.That(assembler.Pitch, Is.EqualTo(Shape.PitchOf(3)));
        Assert.That(image[8], Is.EqualTo((training.Images[4 * 3072 + 3] / 255f - 0.5f) / 0.25f).Within(1e-5));
        Assert.That(image[3..8], Is.All.Zero);
    }

    [Test]
    public void The_synthetic_set_is_balanced_reproducible_and_its_parts_differ()
    {
        var (a, b) = SyntheticDataset.Generate(200, 100);
        var (again, _) = SyntheticDataset.Generate(200, 100);
        Assert.That(a.Images, Is.EqualTo(again.Images));
        Assert.That(a.Labels.CountBy(label => label).Select(pair => pair.Value), Is.All.EqualTo(20));
        Assert.That(a.Images[..3072], Is.Not.EqualTo(b.Images[..3072]));
    }

    private void WriteIdx(int count, bool zipped)
    {
        byte[] images = new byte[16 + count * 6];
        BinaryPrimitives.WriteInt32BigEndian(images, 0x803);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(4), count);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(8), 3);
        BinaryPrimitives.WriteInt32BigEndian(images.AsSpan(12), 2);
        byte[] labels = new byte[8 + count];
        BinaryPrimitives.WriteInt32BigEndian(labels, 0x801);
        BinaryPrimitives.WriteInt32BigEndian(labels.AsSpan(4), count);
        for (int i = 0; i < count * 6; i++)
        {
            images[16 + i] = (byte)i;
        }

        for (int i = 0; i < count; i++)
        {
            labels[8 + i] = (byte)(i % 10);
        }

        Put("t10k-images-idx3-ubyte", images);
        Put("t10k-labels-idx1-ubyte", labels);

        void Put(string name, byte[] bytes)
        {
            if (!zipped)
            {
                File.WriteAllBytes(Path.Combine(root, name), bytes);
                return;
            }

            using GZipStream gzip = new(File.Create(Path.Combine(root, name + ".gz")), CompressionLevel.Fastest);
            gzip.Write(bytes);
        }
    }

    private void WriteCifar(int perFile)
    {
        byte[] bytes = new byte[perFile * 3073];
        for (int i = 0; i < perFile; i++)
        {
            bytes[i * 3073] = (byte)i;
            for (int channel = 0; channel < 3; channel++)
            {
                bytes.AsSpan(i * 3073 + 1 + channel * 1024, 1024).Fill((byte)(10 * (channel + 1)));
            }
        }

        foreach (string name in (string[])["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"])
        {
            File.WriteAllBytes(Path.Combine(root, name), bytes);
        }
    }
}
