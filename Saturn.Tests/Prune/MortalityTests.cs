using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Optimizers;
using Saturn.Kernels.Cpu;
using Saturn.Layers.Models;
using Saturn.Prune;

namespace Saturn.Tests.Prune;

/// <summary>Deaths, revivals and the overlap coefficient, on scripted units.</summary>
public sealed class MortalityTests
{
    [Test]
    public void Deaths_revivals_and_overlaps_are_those_of_the_script()
    {
        using Script script = new();
        Mortality mortality = new(script.Dense);

        // Four units of conv1: nobody, {0, 1, 2}, {2, 3}, {0, 1, 2, 3} are dead.
        DeathCount none = mortality.Count(0, script.Graph, script.Dead());
        Assert.That((none.Dead, none.EverDead, none.Overlap, none.OverlapOfEver, none.Units), Is.EqualTo((0L, 0L, (double?)null, (double?)null, 28L)));
        DeathCount three = mortality.Count(10, script.Graph, script.Dead(0, 1, 2));
        Assert.That((three.Dead, three.Died, three.Revived, three.EverDead, three.Overlap), Is.EqualTo((3L, 3L, 0L, 3L, (double?)null)));
        DeathCount two = mortality.Count(20, script.Graph, script.Dead(2, 3));
        Assert.That((two.Dead, two.Died, two.Revived, two.EverDead), Is.EqualTo((2L, 1L, 2L, 4L)));
        Assert.That((two.Overlap, two.OverlapOfEver), Is.EqualTo(((double?)(1 / 2.0), (double?)(1 / 3.0))));
        Mortality resumed = new(script.Dense);
        resumed.Load(mortality.Save());
        foreach (Mortality each in new[] { mortality, resumed })
        {
            DeathCount four = each.Count(30, script.Graph, script.Dead(0, 1, 2, 3));
            Assert.That((four.Died, four.Revived, four.EverDead, four.Overlap, four.OverlapOfEver), Is.EqualTo((2L, 0L, 4L, (double?)1, (double?)1)));
            Assert.That(four.DeadByGroup, Is.EqualTo(new[] { 4, 0, 0 }));
        }
    }

    [Test]
    public void A_sample_that_misses_activity_is_found_out_by_all_images()
    {
        using Script script = new();
        DeathCount count = new Mortality(script.Dense).Count(0, script.Graph, script.Dead(0, 1, 2), script.Dead(1));
        Assert.That((count.Dead, count.DeadOnAll, count.FalselyDead), Is.EqualTo((3L, (long?)1, (long?)2)));
    }

    [Test]
    public void Removed_units_stay_dead_under_their_old_numbers()
    {
        using Script script = new();
        Mortality mortality = new(script.Dense);
        mortality.Count(0, script.Graph, script.Dead(1));
        script.Remove(1);

        // What was unit 2 is unit 1 of the network now.
        DeathCount later = mortality.Count(10, script.Graph, script.Dead(1));
        Assert.That((later.Dead, later.Died, later.Revived), Is.EqualTo((2L, 1L, 0L)));
        Assert.That(later.Overlap, Is.EqualTo(1));
    }

    private sealed class Script : IDisposable
    {
        private readonly CpuDevice device = new(workers: 1);
        private readonly Model model;
        private readonly Sgd optimizer;
        private readonly PruningRun run;

        public Script()
        {
            ModelRecipe recipe = new("cnn", 4, 10, 8, 8, 1);
            model = ModelFactory.Create(recipe, device);
            model.Initialize(0);
            optimizer = new Sgd(PruningRun.CreateGroups(model, 0.1, 0));
            run = new PruningRun(model, optimizer, new Saturn.Prune.Methods.Dense(), 10, recipe.InputShape(1), 2);
        }

        public ChannelGraph Graph => run.Graph;

        public DenseNetwork Dense => run.Accounting.Dense;

        public Dictionary<UnitGroup, ChannelStatistics> Dead(params int[] units) => Graph.Groups.ToDictionary(
            group => group,
            group => new ChannelStatistics(
                [.. Enumerable.Range(0, group.Channels).Select(c => group.Name == Graph.Groups[0].Name && units.Contains(c) ? 0f : 1f)], new float[group.Channels], new double[group.Channels], 1));

        public void Remove(int unit)
        {
            bool[] flags = new bool[4];
            flags[unit] = true;
            run.Remove(new Dictionary<UnitGroup, bool[]> { [Graph.Groups[0]] = flags });
        }

        public void Dispose()
        {
            run.Dispose();
            optimizer.Dispose();
            model.Dispose();
            device.Dispose();
        }
    }
}
