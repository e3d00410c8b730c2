using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>The update rules against their formulas in double precision over ten steps, and the noise's mask.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.ObservedNames))]
public sealed class OptimizerTests(string device) : KernelTest(device)
{
    private static readonly OptimizerStep SgdRule = new(OptimizerRule.Sgd, 0, 0.9f, false, 0, 0, 0, false, default, 0, 0);
    private static readonly OptimizerStep AdamRule = new(OptimizerRule.Adam, 0, 0, false, 0.9f, 0.999f, 1e-8f, false, default, 0, 0);

    private static readonly (string Name, OptimizerStep Rule, bool Plain)[] Rules =
    [
        ("SGD", SgdRule with { Momentum = 0 }, true),
        ("SGD with momentum", SgdRule, false),
        ("Nesterov", SgdRule with { Nesterov = true }, false),
        ("SGD, decoupled decay", SgdRule with { DecoupledWeightDecay = true }, false),
        ("Adam", AdamRule, false),
        ("AdamW", AdamRule with { DecoupledWeightDecay = true }, false),
        ("dual averaging", SgdRule with { Rule = OptimizerRule.DualAveraging, Momentum = 0 }, true),
        ("dual averaging with momentum", SgdRule with { Rule = OptimizerRule.DualAveraging }, false),
        ("dual averaging, Nesterov, decoupled decay", SgdRule with { Rule = OptimizerRule.DualAveraging, Nesterov = true, DecoupledWeightDecay = true }, false),
    ];

    private static IEnumerable<TestCaseData> Cases => Rules.Select((rule, index) => new TestCaseData(index).SetArgDisplayNames(rule.Name));

    [TestCaseSource(nameof(Cases))]
    public void Ten_steps_follow_the_formula(int index)
    {
        var (_, rule, plain) = Rules[index];
        Shape shape = new(5, 9, 37);
        float[] start = RandomValues(shape.ElementCount, 1);
        start[3] = 0;
        DeviceBuffer weight = Upload(shape, start);
        DeviceBuffer first = Upload(shape, new float[start.Length]);
        DeviceBuffer second = Upload(shape, new float[start.Length]);
        DeviceBuffer accumulator = Upload(shape, RandomValues(start.Length, 5)); // taken for the weight at the first step, whatever it holds
        bool adam = rule.Rule == OptimizerRule.Adam;
        bool averages = rule.Rule == OptimizerRule.DualAveraging;
        double[] w = [.. start.Select(value => (double)value)];
        double[] a = [.. w];
        double[] m = new double[w.Length];
        double[] v = new double[w.Length];
        const double rate = 0.01, decay = 0.05, l1 = 0.02, l2 = 0.03;
        for (int step = 1; step <= 10; step++)
        {
            float[] gradient = RandomValues(start.Length, 10 + step);
            DeviceBuffer last = averages ? accumulator : adam ? second : default;
            OptimizerTensor tensor = new(
                weight, Upload(shape, gradient), !plain ? first : averages ? accumulator : default, plain ? default : last, 5, 9, 37, (float)rate, (float)decay, (float)l1, (float)l2, 0, 1,
                default, default, default, Threshold: 0.03f * step, LastThreshold: 0.03f * (step - 1));
            Device.Optimizer.Update(rule with { Step = step }, [tensor]);
            for (int i = 0; i < w.Length; i++)
            {
                double g = gradient[i] + (rule.DecoupledWeightDecay ? 0 : decay * w[i]) + l1 * Math.Sign(w[i]) + 2 * l2 * w[i];
                double kept = rule.DecoupledWeightDecay ? w[i] - rate * decay * w[i] : w[i];
                if (adam)
                {
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    w[i] = kept - rate * (m[i] / (1 - Math.Pow(0.9, step))) / (Math.Sqrt(v[i] / (1 - Math.Pow(0.999, step))) + 1e-8);
                }
                else if (averages)
                {
                    m[i] = rule.Momentum * m[i] + g;
                    a[i] -= rate * ((rule.DecoupledWeightDecay ? decay * a[i] : 0) + (rule.Nesterov ? g + rule.Momentum * m[i] : m[i]));
                    w[i] = Math.Sign(a[i]) * Math.Max(Math.Abs(a[i]) - 0.03f * step, 0);
                }
                else
                {
                    m[i] = rule.Momentum * m[i] + g;
                    w[i] = kept - rate * (rule.Nesterov ? g + rule.Momentum * m[i] : m[i]);
                }
            }
        }

        AssertClose(Download(shape, weight), w, 2e-6, "w");
        if (averages)
        {
            AssertClose(Download(shape, accumulator), a, 2e-6, "a");
            Assert.That(Download(shape, weight).Count(value => value == 0), Is.InRange(start.Length / 5, start.Length / 2), "about 0.3 of values that were even in [−1, 1)");
        }
    }

    [Test]
    public void A_threshold_of_zero_gives_the_bits_of_SGD_whatever_the_accumulator_holds()
    {
        Shape shape = new(5, 3, 37);
        float[] start = RandomValues(shape.ElementCount, 1);
        DeviceBuffer[] weights = [Upload(shape, start), Upload(shape, start)];
        DeviceBuffer[] momenta = [Upload(shape, new float[start.Length]), Upload(shape, new float[start.Length])];
        DeviceBuffer gradient = Upload(shape, RandomValues(start.Length, 2));
        DeviceBuffer accumulator = Poisoned(shape);
        OptimizerTensor tensor = new(weights[0], gradient, momenta[0], default, 5, 3, 37, 0.1f, 0.01f, 0.02f, 0.03f, 0.1f, 1, UploadPacked<uint>([0b10110u]), default, default);
        for (int step = 1; step <= 3; step++)
        {
            OptimizerStep rule = SgdRule with { Step = step, NoiseStep = (ulong)step };
            Device.Optimizer.Update(rule, [tensor]);
            Device.Optimizer.Update(
                rule with { Rule = OptimizerRule.DualAveraging }, [tensor with { Weight = weights[1], FirstMoment = momenta[1], SecondMoment = accumulator }]);
        }

        Assert.That(Download(shape, weights[1]), Is.EqualTo(Download(shape, weights[0])));
        Assert.That(Download(shape, accumulator), Is.EqualTo(Download(shape, weights[0])));
        Assert.That(Download(shape, weights[0]), Is.Not.EqualTo(start));
    }

    [Test]
    public void A_weight_that_was_written_restarts_its_accumulator()
    {
        // The last threshold was 2. Left alone: 1 of 3, 0 of −2, −1 of −3. Written: 5 and −5 over those, 4 over a 0, 0 over a 1.
        Shape shape = new(7);
        DeviceBuffer accumulator = Upload(shape, [3, -2, -3, 3, -3, 1, 3]);
        DeviceBuffer weight = Upload(shape, [1, 0, -1, 5, -5, 4, 0]);
        OptimizerTensor tensor = new(
            weight, Upload(shape, new float[7]), accumulator, default, 1, 1, 7, 1, 0, 0, 0, 0, 1, default, default, default, Threshold: 2.5f, LastThreshold: 2, IsVector: true);
        Device.Optimizer.Update(SgdRule with { Rule = OptimizerRule.DualAveraging, Momentum = 0, Step = 1 }, [tensor]);
        Assert.That(Download(shape, accumulator), Is.EqualTo(new float[] { 3, -2, -3, 7, -7, 6, 0 }));
        Assert.That(Download(shape, weight), Is.EqualTo(new[] { 0.5f, 0, -0.5f, 4.5f, -4.5f, 3.5f, 0 }));
    }

    [Test]
    public void Noise_enters_before_the_threshold_and_what_is_not_a_number_passes_it()
    {
        Shape shape = new(2, 100);
        float[] start = new float[200];
        start[7] = float.NaN;
        start[8] = 4;
        start[9] = -3;
        start[10] = 2;
        DeviceBuffer accumulator = Upload(shape, start);
        DeviceBuffer weight = Upload(shape, start);
        OptimizerTensor tensor = new(
            weight, Upload(shape, new float[200]), accumulator, default, 2, 1, 100, 0.1f, 0, 0, 0, 0.5f, 3, UploadPacked<uint>([0b10u]), default, default, Threshold: 2);
        Device.Optimizer.Update(SgdRule with { Rule = OptimizerRule.DualAveraging, Momentum = 0, Step = 1 }, [tensor]);
        float[] w = Download(shape, weight);
        float[] a = Download(shape, accumulator);
        Assert.That(w[7..11], Is.EqualTo(new[] { float.NaN, 2, -1, 0 }), "no noise in row 0, and |a| = 2 is not above the threshold");
        Assert.That(a[100..], Has.None.Zero, "noise in row 1, to the accumulator");
        Assert.That(w[100..], Is.EqualTo(a[100..].Select(value => Math.Abs(value) <= 2 ? 0 : Math.Sign(value) * (Math.Abs(value) - 2))), "four deviations away: hardly one passes");
        Assert.That(w[100..].Count(value => value == 0), Is.GreaterThan(95));
    }

    [Test]
    public void Noise_goes_to_live_rows_only_and_by_original_index()
    {
        Shape shape = new(3, 4, 7);
        DeviceBuffer weight = Upload(shape, new float[shape.ElementCount]);
        DeviceBuffer gradient = Upload(shape, new float[shape.ElementCount]);
        OptimizerTensor tensor = new(
            weight, gradient, default, default, 3, 4, 7, 0, 0, 0, 0, 0.5f, 77, UploadPacked<uint>([0b101u]), UploadPacked<int>([4, 5, 9]), UploadPacked<int>([0, 2, 3, 8, 11, 12, 30]));
        Device.Optimizer.Update(SgdRule with { Momentum = 0, Step = 1, NoiseSeed = 6, NoiseStep = 8 }, [tensor]);
        float[] values = Download(shape, weight);
        (uint key0, uint key1) = Philox.DeriveKey(6, 8);
        int[] rows = [4, 5, 9];
        uint[] columns = [0, 2, 3, 8, 11, 12, 30];
        for (int row = 0; row < 3; row++)
        {
            for (int tap = 0; tap < 4; tap++)
            {
                for (int c = 0; c < 7; c++)
                {
                    float expected = row == 1 ? 0 : 0.5f * Philox.Normal(columns[c], (uint)tap, (uint)rows[row], 77, key0, key1);
                    Assert.That(values[(row * 4 + tap) * 7 + c], Is.EqualTo(expected), $"row {row}, tap {tap}, column {c}");
                }
            }
        }
    }

    [Test]
    public void Noise_decided_by_the_gradient_spares_weights_without_one()
    {
        Shape shape = new(2, 5);
        DeviceBuffer weight = Upload(shape, new float[10]);
        DeviceBuffer gradient = Upload(shape, [1, 0, 1e-9f, -1, 0, 0, 0, 0, 0, -1e-7f]);
        OptimizerTensor tensor = new(weight, gradient, default, default, 2, 1, 5, 0, 0, 0, 0, 1, 1, default, default, default, 1e-8f);
        Device.Optimizer.Update(SgdRule with { Momentum = 0, Step = 1 }, [tensor]);
        Assert.That(Download(shape, weight).Select(value => value != 0), Is.EqualTo(new[] { true, false, false, true, false, false, false, false, false, true }));
    }

    [TestCase(1u, true)]
    [TestCase(0u, false)]
    public void A_matrix_with_one_row_is_no_vector(uint flags, bool moves)
    {
        // One word of flags for one row of 70 columns: bit 0 speaks for all of them.
        Shape shape = new(1, 70);
        DeviceBuffer weight = Upload(shape, new float[70]);
        OptimizerTensor tensor = new(
            weight, Upload(shape, new float[70]), default, default, 1, 1, 70, 0, 0, 0, 0, 1, 1, UploadPacked<uint>([flags]), UploadPacked<int>([5]), default);
        Device.Optimizer.Update(SgdRule with { Momentum = 0, Step = 1 }, [tensor]);
        Assert.That(Download(shape, weight).Select(value => value != 0), Is.All.EqualTo(moves));
    }

    [Test]
    public void Clipping_scales_by_the_global_norm()
    {
        Shape shape = new(3);
        OptimizerTensor a = new(default, Upload(shape, [3, 0, 0]), default, default, 1, 1, 3, 0, 0, 0, 0, 0, 0, default, default, default);
        OptimizerTensor b = a with { Gradient = Upload(shape, [0, 4, 0]) };
        DeviceBuffer result = PoisonedBytes(8);
        Device.Optimizer.ClipScale([a, b], 0.5f, 1, result);
        float[] values = DownloadPacked<float>(result, 2);
        Assert.That(values[1], Is.EqualTo(2.5).Within(1e-6), "the norm after scaling");
        Assert.That(values[0], Is.EqualTo(0.2).Within(1e-6));
    }

    [TestCaseSource(nameof(Cases))]
    public void All_devices_give_the_same_bits(int index)
    {
        var (_, rule, plain) = Rules[index];
        using Saturn.Kernels.Cpu.CpuDevice host = new(1);
        Assert.That(Updated(Device, rule, plain), Is.EqualTo(Updated(host, rule, plain)));
    }

    [Test]
    public void Clipping_looks_at_every_element()
    {
        // More tensors than a table of arguments holds, one beyond a chunk; a single element far out decides the norm.
        Shape shape = new(3, 1500);
        Shape small = new(5);
        float[] zeros = new float[shape.ElementCount];
        List<OptimizerTensor> tensors = [];
        for (int i = 0; i < 300; i++)
        {
            bool wide = i % 100 == 99;
            float[] values = wide ? [.. zeros] : new float[5];
            values[^1] = wide ? 100 : 1;
            tensors.Add(new(default, Upload(wide ? shape : small, values), default, default, wide ? 3 : 1, 1, wide ? 1500 : 5, 0, 0, 0, 0, 0, 0, default, default, default));
        }

        DeviceBuffer result = PoisonedBytes(8);
        Device.Optimizer.ClipScale([.. tensors], -2, 1000, result);
        float[] values2 = DownloadPacked<float>(result, 2);
        double norm = 2 * Math.Sqrt(3 * 100 * 100 + 297);
        Assert.That(values2[1], Is.EqualTo(norm).Within(1e-6 * norm));
        Assert.That(values2[0], Is.EqualTo(-2));
    }

    /// <summary>
    /// Weights and moments after two steps over tensors of all kinds: filters, matrices and vectors, with and without noise, masks, maps and thresholds. Sixty fill the large table of
    /// a CUDA device in part, 330 need a second launch.
    /// </summary>
    private static float[] Updated(Device device, OptimizerStep rule, bool plain)
    {
        List<DeviceBuffer> owned = [];
        List<OptimizerTensor> tensors = [];
        DeviceBuffer scale = Put<float>([0.37f]);
        Random random = new(4);
        bool averages = rule.Rule == OptimizerRule.DualAveraging;
        for (int t = 0; t < (plain ? 330 : 60); t++)
        {
            int rows = t % 3 == 0 ? 1 : random.Next(1, 40);
            int middle = t % 3 == 1 ? 9 : 1;
            int columns = t == 7 ? 700 : random.Next(1, 70);
            Shape shape = new(rows, middle, columns);
            bool vector = rows == 1 && middle == 1;
            uint[] flags = [.. Enumerable.Range(0, 32).Select(_ => (uint)random.Next() * 2)];
            tensors.Add(new OptimizerTensor(
                Floats(shape), Floats(shape), plain && !averages ? default : Floats(shape), rule.Rule == OptimizerRule.Adam || (averages && !plain) ? Floats(shape, positive: true) : default, rows, middle, columns, 0.1f,
                t % 4 * 0.01f, t % 5 == 0 ? 0 : 0.002f, t % 2 * 0.03f, t % 7 == 0 ? 0 : 0.01f * (t % 60), (uint)t, t % 3 == 2 ? default : Put<uint>(flags),
                vector || t % 2 == 0 ? default : Put<int>(Indices(rows)), t % 4 < 2 ? default : Put<int>(Indices(columns)), t % 11 == 5 ? 0.1f : 0, vector, t % 5 == 3 ? 0 : 0.3f, 0.2f));
        }

        for (int step = 1; step <= 2; step++)
        {
            device.Optimizer.Update(rule with { Step = step, GradientScale = scale, NoiseSeed = 5, NoiseStep = (ulong)step }, [.. tensors]);
        }

        List<float> results = [];
        foreach (OptimizerTensor tensor in tensors)
        {
            foreach (DeviceBuffer buffer in (DeviceBuffer[])[tensor.Weight, tensor.FirstMoment, tensor.SecondMoment])
            {
                float[] values = new float[buffer.ByteLength / sizeof(float)];
                if (!buffer.IsNone)
                {
                    device.Download(buffer, System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()));
                }

                results.AddRange(values);
            }
        }

        owned.ForEach(device.Memory.Free);
        return [.. results];

        DeviceBuffer Put<T>(ReadOnlySpan<T> values)
            where T : unmanaged
        {
            DeviceBuffer buffer = device.Memory.Allocate(values.Length * 4);
            device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values), buffer);
            owned.Add(buffer);
            return buffer;
        }

        DeviceBuffer Floats(Shape shape, bool positive = false)
        {
            float[] stored = new float[shape.StorageCount];
            for (int i = 0; i < stored.Length; i++)
            {
                // A zero now and then: the sign of zero is none.
                stored[i] = i % shape.Pitch >= shape.Channels || i % 13 == 0 ? 0 : random.NextSingle() * 2 - (positive ? 0 : 1);
            }

            return Put<float>(stored);
        }

        int[] Indices(int count)
        {
            int[] indices = new int[count];
            for (int i = 0, next = 0; i < count; i++)
            {
                next += random.Next(1, 4);
                indices[i] = next;
            }

            return indices;
        }
    }
}
