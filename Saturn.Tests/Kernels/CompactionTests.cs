using System.Runtime.InteropServices;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;
using Saturn.Tests.References;

namespace Saturn.Tests.Kernels;

/// <summary>Gathers of rows and columns, bit for bit.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class CompactionTests(string device) : KernelTest(device)
{
    [Test]
    public void Rows_and_columns_are_gathered_bit_for_bit([Range(1, 25)] int seed)
    {
        // Several jobs of random extents in one call, with and without indices.
        Random random = new(seed);
        Check([.. Enumerable.Range(0, random.Next(1, 6)).Select(_ =>
        {
            int sourceRows = random.Next(1, 60);
            int sourceColumns = random.Next(1, 100);
            return new Job(
                sourceRows, random.Next(3) == 0 ? 1 : random.Next(1, 10), sourceColumns, random.Next(3) == 0 ? null : Survivors(random, sourceRows),
                random.Next(3) == 0 ? null : Survivors(random, sourceColumns));
        })]);
    }

    [Test]
    public void Nothing_removed_is_a_copy([Values(1, 3, 7, 8, 37, 64)] int columns, [Values(1, 9)] int middle) => Check([new Job(5, middle, columns, null, null)]);

    [Test]
    public void One_row_or_column_may_be_left([Values(1, 3, 7, 37, 64)] int columns) =>
        Check([new Job(6, 9, columns, [5], [columns - 1]), new Job(6, 9, columns, null, [0]), new Job(6, 9, columns, [0], null)]);

    [Test]
    public void Indices_may_reorder_and_repeat() => Check([new Job(3, 2, 5, [2, 0], [4, 3, 2, 1, 0, 0, 0, 4, 4])]);

    [Test]
    public void Many_jobs_of_very_different_sizes()
    {
        Random random = new(1);
        Check([.. Enumerable.Range(0, 200).Select(i => new Job(i % 50 == 0 ? 300 : 1, 1 + i % 9, 1 + i, null, Survivors(random, 1 + i)))]);
    }

    [Test]
    public void Nothing_to_do() => Assert.That(() => Device.Compaction.Gather([]), Throws.Nothing);

    [Test]
    public void Sizes_beyond_one_grid_stride()
    {
        Random random = new(1);
        Check([new Job(BeyondOneStride / (9 * 64), 9, 100, null, [.. Enumerable.Range(0, 64).Select(i => i + i / 2)]), new Job(60, 9, 37, Survivors(random, 60), Survivors(random, 37))]);
    }

    private static int[] Survivors(Random random, int count)
    {
        int[] kept = [.. Enumerable.Range(0, count).Where(_ => random.Next(3) > 0)];
        return kept.Length > 0 ? kept : [random.Next(count)];
    }

    private void Check(Job[] jobs)
    {
        // Arbitrary bits, NaNs of all kinds among them, and an arbitrary padding, which must not be copied.
        Random random = new(jobs.Length);
        uint[][] sources = [.. jobs.Select(job =>
        {
            uint[] source = new uint[job.SourceRows * job.Middle * Shape.PitchOf(job.SourceColumns)];
            random.NextBytes(MemoryMarshal.AsBytes(source.AsSpan()));
            return source;
        })];
        DeviceBuffer[] inputs = [.. sources.Select(source => UploadPacked<uint>(source))];
        uint[][] expected = [.. jobs.Select((job, i) => CompactionReference.Gather(
            sources[i], job.Middle, job.SourceColumns, job.Rows ?? [.. Enumerable.Range(0, job.SourceRows)], job.Columns ?? [.. Enumerable.Range(0, job.SourceColumns)]))];
        for (int run = 0; run < 2; run++)
        {
            GatherJob[] gathers = [.. jobs.Select((job, i) => new GatherJob(
                inputs[i], PoisonedBytes(expected[i].Length * sizeof(uint)), job.Rows?.Length ?? job.SourceRows, job.Middle, job.Columns?.Length ?? job.SourceColumns, job.SourceRows,
                job.SourceColumns, job.Rows is null ? DeviceBuffer.None : UploadPacked<int>(job.Rows), job.Columns is null ? DeviceBuffer.None : UploadPacked<int>(job.Columns)))];
            Device.Compaction.Gather(gathers);
            for (int i = 0; i < jobs.Length; i++)
            {
                Assert.That(DownloadPacked<uint>(gathers[i].Destination, expected[i].Length).AsSpan().SequenceEqual(expected[i]), $"{gathers[i]}, run {run}");
            }
        }
    }

    private sealed record Job(int SourceRows, int Middle, int SourceColumns, int[]? Rows, int[]? Columns);
}
