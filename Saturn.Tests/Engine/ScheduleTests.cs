using NUnit.Framework;
using Saturn.Engine.Optimizers;

namespace Saturn.Tests.Engine;

/// <summary>Schedules at points that a person can compute by hand.</summary>
public sealed class ScheduleTests
{
    private static readonly (string Name, Schedule Schedule, long Step, double Expected)[] Rows =
    [
        ("constant", new ConstantSchedule(3), 1000, 3),
        ("step, before", new StepSchedule(1, 10, 0.1), 9, 1),
        ("step, after two", new StepSchedule(1, 10, 0.1), 20, 0.01),
        ("multi-step", new MultiStepSchedule(1, [5, 7], 0.5), 7, 0.25),
        ("cosine, start", new CosineSchedule(2, 100), 0, 2),
        ("cosine, middle", new CosineSchedule(2, 100), 50, 1),
        ("cosine, end", new CosineSchedule(2, 100, 0.5), 100, 0.5),
        ("cosine, held", new CosineSchedule(2, 100, 0.5), 400, 0.5),
        ("warm-up, start", new WarmupSchedule(10, new ConstantSchedule(4), 1), 0, 1),
        ("warm-up, half way", new WarmupSchedule(10, new ConstantSchedule(4)), 5, 2),
        ("warm-up, then next from its own 0", new WarmupSchedule(10, new CosineSchedule(2, 100)), 60, 1),
        ("one cycle, start", new OneCycleSchedule(6, 100), 0, 0),
        ("one cycle, half of the rise", new OneCycleSchedule(6, 100), 15, 3),
        ("one cycle, peak", new OneCycleSchedule(6, 100), 30, 6),
        ("one cycle, half of the fall", new OneCycleSchedule(6, 100), 65, 3),
        ("one cycle, end", new OneCycleSchedule(6, 100), 100, 0),
        ("one cycle, held", new OneCycleSchedule(6, 100), 200, 0),
        ("cosine one cycle, start", new CosineOneCycleSchedule(25, 100), 0, 1),
        ("cosine one cycle, half of the rise", new CosineOneCycleSchedule(25, 100), 15, 13),
        ("cosine one cycle, peak", new CosineOneCycleSchedule(25, 100), 30, 25),
        ("cosine one cycle, held", new CosineOneCycleSchedule(25, 100), 130, 25.0 / 250_000),
    ];

    private static IEnumerable<TestCaseData> Cases => Rows.Select((row, index) => new TestCaseData(index).SetArgDisplayNames(row.Name));

    [TestCaseSource(nameof(Cases))]
    public void Schedule_has_the_value_computed_by_hand(int index) =>
        Assert.That(Rows[index].Schedule.At(Rows[index].Step), Is.EqualTo(Rows[index].Expected).Within(1e-12));

    [Test]
    public void A_schedule_without_steps_is_refused() =>
        Assert.That(() => new CosineSchedule(1, 0), Throws.TypeOf<ArgumentOutOfRangeException>());
}
