using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Families;
using Saturn.Training;
using Saturn.Training.Checkpoints;

namespace Saturn.Tests.Training;

public sealed class TrainingClockTests
{
    private const double Wait = 0.04;

    [Test]
    public void Steps_that_return_early_are_counted_when_the_device_is_done()
    {
        using LateDevice device = new();
        RunProgress progress = new();
        StepTimes times = new();
        TrainingClock clock = new(device, progress, times);
        for (int step = 0; step < 4; step++)
        {
            clock.BeginStep();
            clock.EndStep(7);
            clock.BeginPruning();
            Assert.That(clock.EndPruning(hasPruned: false), Is.Zero);
        }

        Assert.That(progress.TrainingSeconds, Is.Zero, "nobody has waited");
        clock.Settle();
        Assert.That(progress.TrainingSeconds, Is.GreaterThanOrEqualTo(Wait));
        Assert.That(times.Last, Is.EqualTo(progress.TrainingSeconds * 1000 / 4).Within(1e-9));
        Assert.That(times.LastFlops, Is.EqualTo(7));
        double before = progress.TrainingSeconds;
        clock.Settle();
        Assert.That(progress.TrainingSeconds, Is.EqualTo(before), "nothing has run since");
    }

    [Test]
    public void A_census_is_counted_apart_from_the_steps_before_it()
    {
        using LateDevice device = new();
        RunProgress progress = new();
        StepTimes times = new();
        TrainingClock clock = new(device, progress, times);
        clock.BeginStep();
        clock.EndStep(1);
        clock.BeginPruning();
        clock.Settle();
        double steps = progress.TrainingSeconds;
        Thread.Sleep(TimeSpan.FromSeconds(Wait));
        double milliseconds = clock.EndPruning(hasPruned: true);
        Assert.That(milliseconds, Is.GreaterThanOrEqualTo(Wait * 999));
        Assert.That(progress.TrainingSeconds, Is.EqualTo(steps + milliseconds / 1000).Within(1e-9));
        Assert.That(times.Last, Is.EqualTo(steps * 1000).Within(1e-9));
    }

    [Test]
    public void On_the_host_every_step_is_counted_at_once()
    {
        using CpuDevice device = new(workers: 1);
        RunProgress progress = new();
        TrainingClock clock = new(device, progress, new StepTimes());
        clock.BeginStep();
        Thread.Sleep(TimeSpan.FromSeconds(Wait));
        clock.EndStep(1);
        Assert.That(progress.TrainingSeconds, Is.GreaterThanOrEqualTo(Wait * 0.999));
    }

    /// <summary>A device whose work is done only when somebody waits, and that has no kernels.</summary>
    private sealed class LateDevice : Device
    {
        public override string Name => "late";

        public override DeviceKind Kind => DeviceKind.Cuda;

        public override string Description => "late";

        public override IDeviceMemory Memory => throw new NotSupportedException();

        public override IElementwiseKernels Elementwise => throw new NotSupportedException();

        public override IReductionKernels Reduction => throw new NotSupportedException();

        public override IMatrixKernels Matrix => throw new NotSupportedException();

        public override IConvolutionKernels Convolution => throw new NotSupportedException();

        public override INormalizationKernels Normalization => throw new NotSupportedException();

        public override IAttentionKernels Attention => throw new NotSupportedException();

        public override IActivationKernels Activation => throw new NotSupportedException();

        public override IPoolingKernels Pooling => throw new NotSupportedException();

        public override ILossKernels Loss => throw new NotSupportedException();

        public override IRandomKernels Random => throw new NotSupportedException();

        public override ICensusKernels Census => throw new NotSupportedException();

        public override ICompactionKernels Compaction => throw new NotSupportedException();

        public override IOptimizerKernels Optimizer => throw new NotSupportedException();

        public override IImageKernels Images => throw new NotSupportedException();

        public override void Upload(ReadOnlySpan<byte> source, DeviceBuffer destination) => throw new NotSupportedException();

        public override void Download(DeviceBuffer source, Span<byte> destination) => throw new NotSupportedException();

        public override void Copy(DeviceBuffer source, DeviceBuffer destination) => throw new NotSupportedException();

        public override void Clear(DeviceBuffer buffer) => throw new NotSupportedException();

        public override void Synchronize() => Thread.Sleep(TimeSpan.FromSeconds(Wait));

        protected override void Dispose(bool disposing)
        {
        }
    }
}
