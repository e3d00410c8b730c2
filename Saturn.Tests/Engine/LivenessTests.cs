using NUnit.Framework;
using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Engine.Optimizers;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Engine;

/// <summary>What the record of activity remembers for the noise: scripted patterns against sets that are kept by hand.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class LivenessTests(string device) : EngineTest(device)
{
    [Test]
    public void A_window_of_three_over_a_script()
    {
        using ChannelActivity activity = new(Device, 5, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = 3 };
        Assert.That(activity.LiveFlags.IsNone, Is.True, "all are live before the first step");
        (int[] Active, int[] Live)[] script =
        [
            ([0], [0]), ([1], [0, 1]), ([], [0, 1]), ([4], [1, 4]), ([], [4]), ([], [4]), ([], []), ([2, 3], [2, 3]), ([0], [0, 2, 3]), ([0], [0, 2, 3]), ([0], [0]),
        ];
        for (int step = 0; step < script.Length; step++)
        {
            activity.Reset();
            Pass(activity, script[step].Active);
            Assert.That(Live(activity), Is.EqualTo(script[step].Live), $"step {step}");
            Assert.That(Live(activity), Is.EqualTo(script[step].Live), $"step {step}, asked again");
        }
    }

    [Test]
    public void Windows_of_all_lengths_remember_the_last_steps_exactly([Values(1, 2, 3, 4, 7, 16)] int length, [Values(3, 32, 70)] int channels)
    {
        using ChannelActivity activity = new(Device, channels, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = length };
        Random random = new(length + channels);
        List<HashSet<int>> steps = [];
        for (int step = 0; step < 4 * length + 5; step++)
        {
            activity.Reset();
            if (random.Next(4) == 0)
            {
                // Passes that nobody asks about are no step, as an evaluation between two steps is none.
                Pass(activity, [.. Enumerable.Range(0, channels)]);
                activity.Reset();
            }

            HashSet<int> active = [];
            steps.Add(active);
            for (int pass = random.Next(1, 4); pass > 0; pass--)
            {
                // A step of several passes is their union, also if it is asked for before the last of them.
                int[] some = [.. Enumerable.Range(0, channels).Where(_ => random.Next(3 * length) == 0)];
                active.UnionWith(some);
                Pass(activity, some);
                if (pass == 1 || random.Next(3) == 0)
                {
                    Assert.That(Live(activity), Is.EqualTo(Expected()), $"step {step}");
                }
            }
        }

        int[] Expected() => [.. steps.TakeLast(length).SelectMany(step => step).Distinct().Order()];
    }

    [Test]
    public void A_window_that_was_read_and_restored_goes_on_as_before([Values(1, 3, 5)] int length, [Values(0, 1, 3, 4, 5, 8)] int before)
    {
        using ChannelActivity whole = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = length };
        using ChannelActivity resumed = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = length };
        Random random = new(length + before);
        for (int step = 0; step < before + 8; step++)
        {
            if (step == before)
            {
                IReadOnlyList<int[]> memory = whole.ReadLiveness();
                Assert.That(memory, Has.Count.EqualTo(Math.Min(length, before)));
                resumed.RestoreLiveness(memory);
            }

            int[] active = [.. Enumerable.Range(0, 40).Where(_ => random.Next(8) == 0)];
            whole.Reset();
            Pass(whole, active);
            int[] live = Live(whole);
            if (step >= before)
            {
                resumed.Reset();
                Pass(resumed, active);
                Assert.That(Live(resumed), Is.EqualTo(live), $"step {step}");
            }
        }
    }

    [Test]
    public void A_census_is_remembered_until_the_next_one()
    {
        using ChannelActivity activity = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Census };
        Pass(activity, 3);
        Assert.That(activity.LiveFlags.IsNone, Is.True, "all are live before the first census");
        TakeCensus([1, 35], [7]);
        Assert.That(Live(activity), Is.EqualTo(new[] { 1, 7, 35 }));
        activity.Reset();
        Pass(activity, 2, 9);
        Assert.That(Live(activity), Is.EqualTo(new[] { 1, 7, 35 }), "whatever came after it");
        using (ChannelActivity resumed = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Census })
        {
            resumed.RestoreLiveness(activity.ReadLiveness());
            Assert.That(Live(resumed), Is.EqualTo(new[] { 1, 7, 35 }));
        }

        TakeCensus([0]);
        Assert.That(Live(activity), Is.EqualTo(new[] { 0 }));
        activity.Resize(30);
        Assert.That(activity.LiveFlags.IsNone, Is.True, "survivors were live");

        void TakeCensus(params int[][] passes)
        {
            activity.BeginCensus();
            foreach (int[] active in passes)
            {
                Pass(activity, active);
            }

            Assert.That(activity.EndCensus().Rows, Is.EqualTo(passes.Length));
        }
    }

    [Test]
    public void A_census_is_no_step_of_a_window_and_a_compaction_empties_it()
    {
        using ChannelActivity activity = new(Device, 40, Activation.Relu) { Liveness = LivenessMemory.Window, WindowLength = 4 };
        Pass(activity, 3);
        Assert.That(Live(activity), Is.EqualTo(new[] { 3 }));
        activity.BeginCensus();
        Pass(activity, 20);
        Assert.That(Live(activity), Is.EqualTo(new[] { 3 }));
        activity.EndCensus();
        Assert.That(Live(activity), Is.EqualTo(new[] { 3 }));
        Pass(activity, 4);
        Assert.That(Live(activity), Is.EqualTo(new[] { 3, 4 }));
        activity.Resize(70);
        Assert.That(activity.LiveFlags.IsNone, Is.True);
        Pass(activity, 65);
        Assert.That(Live(activity), Is.EqualTo(new[] { 65 }));
        activity.WindowLength = 5;
        Assert.That(activity.LiveFlags.IsNone, Is.True, "another length starts with nothing known");
        activity.Liveness = LivenessMemory.Batch;
        Assert.That(Live(activity), Is.EqualTo(new[] { 65 }));
    }

    [TestCase(LivenessMemory.Batch, new[] { false, true, false })]
    [TestCase(LivenessMemory.Window, new[] { true, true, false })]
    public void Noise_goes_to_units_that_were_active_two_batches_ago_only_with_a_window(LivenessMemory memory, bool[] expected)
    {
        // Unit 0 was active two steps ago, unit 1 is now, unit 2 four steps ago.
        using ChannelActivity activity = new(Device, 3, Activation.Relu) { Liveness = memory, WindowLength = 3 };
        using Parameter weight = NewWeight(3, 5, activity);
        using Sgd optimizer = new([new ParameterGroup([weight], 0)], momentum: 0);
        foreach (int[] active in (int[][])[[2], [], [0], []])
        {
            Step(active);
        }

        optimizer.Groups[0].NoiseStandardDeviation = 1;
        Step([1]);
        Assert.That(weight.Value.ToArray().Chunk(5).Select(row => row.All(value => value != 0)), Is.EqualTo(expected));
        Assert.That(weight.Value.ToArray().Chunk(5).Select(row => row.Any(value => value != 0)), Is.EqualTo(expected));

        void Step(int[] active)
        {
            activity.Reset();
            using TensorScope scope = new();
            Pass(activity, active);
            Operation.Sum(weight.Value).Backward();
            optimizer.Step();
        }
    }

    [Test]
    public void Settings_and_memories_that_do_not_fit_are_refused()
    {
        using ChannelActivity activity = new(Device, 40, Activation.Relu) { Name = "conv1" };
        Assert.That(() => activity.WindowLength = 0, Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.Contains("at least one step, but 0"));
        Assert.That(() => activity.RestoreLiveness([[1, 2]]), Throws.ArgumentException.With.Message.Contains("conv1").And.Message.Contains("Batch"));
        activity.Liveness = LivenessMemory.Window;
        Assert.That(() => activity.RestoreLiveness([[1, 2], [3]]), Throws.ArgumentException.With.Message.Contains("[2, 1] words"));
    }

    private static int[] Live(ChannelActivity activity)
    {
        int[] words = new int[ActivityReport.WordCount(activity.Channels)];
        activity.Device.Download(activity.LiveFlags, System.Runtime.InteropServices.MemoryMarshal.AsBytes(words.AsSpan()));
        return [.. Enumerable.Range(0, words.Length * 32).Where(c => (words[c / 32] >> c % 32 & 1) != 0)];
    }

    /// <summary>A forward pass over one row in which these channels are active.</summary>
    private void Pass(ChannelActivity activity, params int[] active)
    {
        float[] values = new float[activity.Channels];
        Array.Fill(values, -1);
        foreach (int channel in active)
        {
            values[channel] = 1;
        }

        using TensorScope scope = new();
        Operation.Activate(Tensor.FromValues(Device, new Shape(1, values.Length), values), Activation.Relu, activity);
    }

    private Parameter NewWeight(int rows, int columns, ChannelActivity activity)
    {
        Tensor value = Tensor.AllocateUnscoped(Device, new Shape(rows, columns));
        Device.Clear(value.Buffer);
        return new Parameter("w", ParameterRole.Weight, value) { RowActivity = activity };
    }
}
