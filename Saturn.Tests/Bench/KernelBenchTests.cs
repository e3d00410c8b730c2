using NUnit.Framework;
using Saturn.Bench;
using Saturn.Kernels.Cpu;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class KernelBenchTests
{
    private static readonly KernelBenchOptions Options = new("saturn bench kernels", Threads: 2, new Repetition(Rounds: 1, Warmup: 0, Repetitions: 1), Filter: "37");

    [Test]
    public void EachLayerIsMeasuredInThreePasses()
    {
        using CpuDevice device = new(workers: 2);
        BenchTable table = IgnoreUntilTheKernelsExist(() => ConvolutionBench.Run(device, ConvolutionBench.Layers(batch: 1), Options));

        Assert.That(table.Rows.Select(row => row[3]), Is.EqualTo(
            Enumerable.Repeat(new[] { "forward", "data gradient", "filter gradient" }, 3).SelectMany(passes => passes)), "37→64, 64→37 and 37→37");
        Assert.That(device.Memory.LiveBytes, Is.Zero);
    }

    [Test]
    public void MemoryBoundKernelsAreMeasured()
    {
        using CpuDevice device = new(workers: 2);
        BenchTable table = IgnoreUntilTheKernelsExist(() => MemoryBoundBench.Run(device, batch: 1, Options with { Filter = "batch norm" }));

        Assert.That(table.Rows, Has.Count.EqualTo(20));
        Assert.That(device.Memory.LiveBytes, Is.Zero);
    }

    private static BenchTable IgnoreUntilTheKernelsExist(Func<BenchTable> run)
    {
        try
        {
            return run();
        }
        catch (NotImplementedException)
        {
            Assert.Ignore("The CPU device does not have these kernels yet.");
            throw;
        }
    }
}
