using NUnit.Framework;
using Saturn.Training;

namespace Saturn.Tests.Training;

/// <summary>The medians that summaries report.</summary>
public sealed class StepTimesTests
{
    [Test]
    public void First_and_last_are_medians_of_their_windows_and_survive_a_removal_at_the_end()
    {
        StepTimes times = new();
        for (int i = 0; i < 30; i++)
        {
            times.Add(i < 5 ? 1000 : 10, 800);
        }

        times.NetworkChanged();
        for (int i = 0; i < 9; i++)
        {
            times.Add(i == 0 ? 500 : 4, 300);
        }

        Assert.That((times.First, times.Last), Is.EqualTo((10.0, 4.0)));
        Assert.That((times.FirstFlops, times.LastFlops), Is.EqualTo((800.0, 300.0)));
        times.NetworkChanged();
        Assert.That(times.Last, Is.EqualTo(4.0), "no step has run since");
        times.NetworkChanged();
        Assert.That(times.Last, Is.EqualTo(4.0));
        Assert.That(times.LastFlops, Is.EqualTo(300.0), "those of the steps that were timed");
    }

    [Test]
    public void What_the_host_waits_for_the_device_belongs_to_the_steps_before()
    {
        StepTimes times = new();
        for (int window = 0; window < 10; window++)
        {
            for (int i = 0; i < 20; i++)
            {
                times.Add(1, 800);
            }

            times.AddWait(20 * 9, 20);
        }

        Assert.That((times.First, times.Last), Is.EqualTo((10.0, 10.0)));
        times.Add(1, 800);
        times.NetworkChanged();
        times.Add(1, 300);
        times.AddWait(3, 2);
        Assert.That((times.First, times.Last), Is.EqualTo((10.0, 4.0)), "the change has waited for the step before it");
    }

    [Test]
    public void A_network_pruned_before_its_first_step_is_its_own_measure()
    {
        StepTimes times = new();
        times.NetworkChanged();
        times.Add(7, 100);
        Assert.That((times.First, times.Last, times.FirstFlops, times.LastFlops), Is.EqualTo((7.0, 7.0, 100.0, 100.0)));
    }
}
