using System.Text.Json;
using NUnit.Framework;
using Saturn.Bench;
using Saturn.Bench.Gpu;
using Saturn.Bench.Works;
using Saturn.Emulator;
using Saturn.Engine;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Cuda;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Diagnostics;
using Saturn.Layers.Models;
using Saturn.Tests.Cuda;

namespace Saturn.Tests.Bench;

[TestFixture]
public sealed class GpuBenchTests
{
    private static readonly GpuBenchOptions Options = new("saturn bench", new Repetition(2, 0, 1), new Deadline(double.PositiveInfinity));

    [SetUp]
    public void RequireNvrtc() => Nvrtc.Require();

    private static CudaDevice Open(KernelReplacement? replacement = null, MemoryTraffic? traffic = null) =>
        new("emulated:fast", new EmulatedDriver(new EmulatorOptions(Checked: false, Traffic: traffic)), 0, Precision.Fp32, replacement);

    private static CudaDevice Open(Precision precision) => new("emulated:fast", new EmulatedDriver(new EmulatorOptions(Checked: false)), 0, precision);

    [Test]
    public void A_work_is_timed_between_events_from_a_graph()
    {
        using CudaDevice device = Open();
        BenchTable table = GpuKernelBench.Run(device, 2, "softmax cross entropy forward and backward 10", Options);
        Assert.That(table.Rows, Has.Count.EqualTo(2), "10 and 1000 classes");
        Assert.That(table.Rows[0][0], Is.EqualTo("softmax cross entropy forward and backward 10"), "no word about a missing graph");
        Assert.That(double.Parse(table.Rows[0][1], System.Globalization.CultureInfo.InvariantCulture), Is.Positive);
        Assert.That(device.Memory.LiveBytes, Is.Zero);
    }

    [Test]
    public void A_kernel_that_is_wrong_only_at_the_timed_size_is_told()
    {
        string text = KernelSource.BuiltIn("elementwise.cu").Text.Replace("evaluate<operation>(x.x, y.x)", "evaluate<operation>(x.x, y.x) + (arguments.rows > 1000 ? 1.0f : 0.0f)");
        using CudaDevice device = Open(new KernelReplacement("elementwise.cu", text)), reference = Open();
        Assert.That(GpuKernelBench.Run(device, 1, "add", Options, reference).Rows.Single(row => row[0] == "add")[1], Does.StartWith("wrong at this size: sum[0, 0] is"), "392 rows at the small size, 1024 at this one");
        Assert.That(device.Memory.LiveBytes + reference.Memory.LiveBytes, Is.Zero);
    }

    [TestCase(Precision.Fp32)]
    [TestCase(Precision.Tf32)]
    [TestCase(Precision.Bf16)]
    public void Another_precision_of_the_same_device_checks_convolutions_with_and_without_what_they_do_by_the_way(Precision precision)
    {
        using CudaDevice device = Open(precision), reference = Open(GpuKernelBench.ReferencePrecision(precision));
        foreach (KernelWork work in KernelCatalog.At(WorkScale.Tiny).Where(one => one.Name.StartsWith("64→64 3×3 8²", StringComparison.Ordinal) || one.Name.StartsWith("resnet18 64→64", StringComparison.Ordinal)))
        {
            try
            {
                Assert.That(WorkCheck.Against(device, reference, work), Is.Null, work.Name);
            }
            catch (NotSupportedException) when (precision == Precision.Fp32 && work.Name.EndsWith("by the way", StringComparison.Ordinal))
            {
            }
        }
    }

    [Test]
    public void Shares_of_the_limit_count_the_arithmetic_that_a_work_runs_in()
    {
        IReadOnlyList<KernelWork> works = KernelCatalog.At(WorkScale.Tiny);
        Assert.That(works.Where(work => work.Family == "matrix").Select(work => work.Arithmetic(Precision.Bf16)), Has.All.EqualTo(Precision.Tf32));
        Assert.That(works.Where(work => work.Family == "matrix").Select(work => work.Arithmetic(Precision.Fp32)), Has.All.EqualTo(Precision.Fp32));
        Assert.That(works.Where(work => work.Family == "attention").Select(work => work.Arithmetic(Precision.Tf32)), Has.All.EqualTo(Precision.Fp32));
        DeviceLimits limits = new("", 4000, 67, 400, 790);
        Assert.That(limits.FloorMilliseconds(works.First(work => work.Family == "matrix").Arithmetic(Precision.Bf16), 0, 400e9), Is.EqualTo(1));
    }

    [Test]
    public void When_the_time_is_over_the_table_says_so()
    {
        using CudaDevice device = Open();
        Assert.That(GpuKernelBench.Run(device, 2, null, Options with { Deadline = new Deadline(0) }).ToPlainText(), Does.Contain("The time was over after 0 of"));
    }

    [Test]
    public void A_filter_that_fits_nothing_names_the_families() =>
        Assert.That(() => KernelCatalog.Select(KernelCatalog.At(WorkScale.Tiny), "nosuch"), Throws.ArgumentException.With.Message.Contains("normalization").And.Message.Contains("nosuch"));

    [Test]
    public void All_scales_hold_the_same_works_in_the_same_order() =>
        Assert.That(KernelCatalog.At(WorkScale.Tiny).Select(work => work.Family), Is.EqualTo(KernelCatalog.At(new WorkScale(128)).Select(work => work.Family)));

    [Test]
    public void Kernels_that_memory_bounds_ask_for_what_the_sizes_demand()
    {
        BenchTable table = KernelCountBench.Run("emulated", Precision.Fp32, "SGD, momentum,add,ReLU backward,dropout", "", new Deadline(double.PositiveInfinity));
        foreach (string name in (string[])["SGD, momentum", "add", "ReLU backward", "dropout"])
        {
            Assert.That(table.Rows.Single(row => row[0] == name)[6], Is.EqualTo("1.00×"), name);
        }
    }

    [Test]
    public void A_product_counts_its_multiply_adds()
    {
        MemoryTraffic traffic = new();
        using CudaDevice device = Open(null, traffic);
        KernelWork work = KernelCatalog.At(WorkScale.Tiny).Single(one => one.Name == "resnet18 64→64 3×3 8² forward");
        Assert.That(WorkCheck.Against(device, device, work), Is.Null);
        traffic.Reset();
        using WorkArrays arrays = new(device, ElementType.Float32, false);
        work.Prepare(device, arrays)();
        device.Synchronize();
        Assert.That(traffic.MultiplyAdds + traffic.MatrixMultiplyAdds, Is.EqualTo(work.Operations / 2), "the tile divides these sizes");
        Assert.That(traffic.StoredBytes, Is.EqualTo(2 * 8 * 8 * 64 * sizeof(float)));
    }

    [Test]
    public void An_edited_file_is_raced_against_the_built_in_one()
    {
        string text = KernelSource.BuiltIn("elementwise.cu").Text;
        MemoryTraffic traffic = new();
        using CudaDevice builtIn = Open(null, traffic), same = Open(new KernelReplacement("elementwise.cu", text + "\n// edited"), traffic);
        BenchTable counts = EditedKernelBench.Run("elementwise.cu", builtIn, same, 2, 0, traffic, Options);
        Assert.That(counts.Rows.Select(row => row[0]), Does.Contain("add"));
        Assert.That(counts.Rows.Select(row => row[^1]), Has.All.EqualTo("1.00×"));
    }

    [Test]
    public void An_edited_file_with_other_results_is_refused_with_the_first_mismatch()
    {
        string text = KernelSource.BuiltIn("elementwise.cu").Text.Replace("x + y", "x - y");
        MemoryTraffic traffic = new();
        using CudaDevice builtIn = Open(null, traffic), wrong = Open(new KernelReplacement("elementwise.cu", text), traffic);
        Assert.That(
            () => EditedKernelBench.Run("elementwise.cu", builtIn, wrong, 2, 1e-3, traffic, Options),
            Throws.TypeOf<WrongResultException>().With.Message.Contains("'add'").And.Message.Contains("sum[0, 0] is").And.Message.Contains("expected"));
    }

    [Test]
    public void An_edited_struct_is_refused_by_the_layout_check()
    {
        string text = KernelSource.BuiltIn("compaction.cu").Text.Replace("struct GatherArguments\n{", "struct GatherArguments\n{\n    int added;");
        using CudaDevice builtIn = Open(), wrong = Open(new KernelReplacement("compaction.cu", text));
        Assert.That(
            () => EditedKernelBench.Run("compaction.cu", builtIn, wrong, 2, 0, new MemoryTraffic(), Options),
            Throws.TypeOf<KernelCompilationException>().With.Message.Contains("GatherArguments"));
    }

    [Test]
    public void An_unknown_file_is_refused_with_the_known_ones() =>
        Assert.That(() => new KernelReplacement("nosuch.cu", ""), Throws.ArgumentException.With.Message.Contains("nosuch.cu").And.Message.Contains("elementwise.cu"));

    [TestCase("convolution_wgmma.cu", "with --precision bf16 on a device of compute capability 9.0 (this one is compute_80; emulated:sm_90a emulates one) where SATURN_WGMMA=1 is set")]
    [TestCase("convolution_tensor.cu", "in fp32. They are launched with --precision tf32 or --precision bf16.")]
    [TestCase("matrix_tensor.cu", "They are launched with --precision tf32 or --precision bf16.")]
    public void A_file_that_nothing_launches_is_refused_with_what_makes_the_works_launch_it(string name, string expected)
    {
        using CudaDevice builtIn = Open(), edited = Open(new KernelReplacement(name, KernelSource.BuiltIn(name).Text));
        Assert.That(() => EditedKernelBench.Run(name, builtIn, edited, 2, 0, new MemoryTraffic(), Options), Throws.ArgumentException.With.Message.Contains(expected));
    }

    [Test]
    public void Warpgroups_that_are_not_turned_on_are_refused_on_their_device_too()
    {
        using CudaDevice device = KernelCountBench.Open("emulated:sm_90a", Precision.Bf16, new MemoryTraffic(), warpgroups: false);
        Assert.That(
            () => EditedKernelBench.Run("convolution_wgmma.cu", device, device, 2, 0, new MemoryTraffic(), Options with { Deadline = new Deadline(0) }),
            Throws.ArgumentException.With.Message.Contains("where SATURN_WGMMA=1 is set (it is "));
    }

    [TestCase("resnet18", 32, 2)]
    [TestCase("resnet50", 224, 1)]
    [TestCase("vgg16", 224, 1)]
    public void The_catalog_holds_every_convolution_of_the_models(string name, int side, int batch)
    {
        string trace = Path.Combine(Path.GetTempPath(), $"saturn-convolutions-{Guid.NewGuid():N}.json");
        try
        {
            using (ObservedDevice device = new(new CpuDevice(), new Observation(TraceFile: trace)))
            using (Model model = ModelFactory.Create(new ModelRecipe(name, 64, 10, side, side, 3), device))
            using (TensorScope scope = new())
            {
                model.Forward(Tensor.Zeros(device, new Shape(batch, side, side, 3)));
            }

            using JsonDocument document = JsonDocument.Parse(File.ReadAllText(trace));
            string[] found = [.. document.RootElement.GetProperty("traceEvents").EnumerateArray().Where(call => call.GetProperty("name").GetString() == "convolution.Forward")
                .Select(call => call.GetProperty("args").GetProperty("sizes").GetString()!).Distinct()];
            string[] convolutions = [.. found.Where(sizes => !sizes.StartsWith($"[{batch}, 1, 1, ", StringComparison.Ordinal))];
            Assert.That(convolutions, Has.Length.EqualTo(name switch { "resnet18" => 11, "resnet50" => 23, _ => 9 }));
            Assert.That(
                ConvolutionWorks.Shapes(new WorkScale(2)).Where(one => one.Net == name).Select(one => one.Shape)
                    .Select(s => $"{s.Input} ∗ {s.Weight} → {s.Output}, stride {s.StrideHeight}×{s.StrideWidth}, padding {s.PaddingHeight}×{s.PaddingWidth}, dilation 1×1, groups 1"),
                Is.EquivalentTo(convolutions));
        }
        finally
        {
            File.Delete(trace);
        }
    }

    [Test]
    public void Half_a_resnet_has_the_channels_that_pruning_leaves()
    {
        ModelCase half = ModelCase.Of("resnet18", 64, null, null).Single(one => one.LiveShare == 0.5 && !one.MappedShortcuts);
        Assert.That(
            ((string[])["conv1", "layer1.1", "layer2.0.conv1", "layer3.0", "layer4.1"]).Select(group => half.Plan[group]), Is.EqualTo((int[])[31, 31, 65, 127, 253]));
    }

    [Test]
    public void Steps_are_measured_with_launches_and_memory()
    {
        ModelCase[] cases = [.. ModelCase.Of("resnet18", 4, 1, 32).Where(one => one.LiveShare is 1 or 0.5)];
        BenchTable table = ModelStepBench.Run(() => Open(), cases, Options with { Repetition = new Repetition(1, 0, 1) });
        Assert.That(table.Rows.Select(row => row[0]), Is.EqualTo((string[])["resnet18", "resnet18, 50 % live", "resnet18, 50 % live, mapped shortcuts"]));
        Assert.That(table.Rows.Select(row => row[7]), Has.All.EqualTo("1 graph"), "issued as");
        Assert.That(table.Rows.Select(row => double.Parse(row[8], System.Globalization.CultureInfo.InvariantCulture)), Has.All.Positive, "launched ms");
        Assert.That(table.Rows.Select(row => int.Parse(row[10], System.Globalization.CultureInfo.InvariantCulture)), Has.All.GreaterThan(50), "launches");
    }

    [Test]
    public void Steps_that_are_not_to_be_recorded_are_launched()
    {
        ModelCase[] cases = [.. ModelCase.Of("resnet18", 4, 1, 32).Take(1)];
        BenchTable table = ModelStepBench.Run(() => Open(), cases, Options with { Repetition = new Repetition(1, 0, 1) }, recorded: false);
        Assert.That(table.Rows[0].Skip(7).Take(3), Is.EqualTo((string[])["launches", "–", "–"]));
    }

    [Test]
    public void A_recorded_step_leaves_no_memory_behind()
    {
        using CudaDevice device = Open();
        using (ModelStepWorkload workload = ModelCase.Of("resnet18", 4, 1, 32).First().Open(device))
        {
            Assert.That(workload.Record(), workload.WhyNotRecorded);
            long launches = device.Context.LaunchCount();
            workload.Step();
            Assert.That(device.Context.LaunchCount(), Is.EqualTo(launches), "a repetition launches no kernel by itself");
            workload.StopRecording();
            workload.Step();
            Assert.That(device.Context.LaunchCount(), Is.GreaterThan(launches + 50));
        }

        Assert.That(device.Memory.LiveBytes, Is.Zero);
    }

    [TestCase(Precision.Bf16)]
    [TestCase(Precision.Tf32)]
    public void What_is_done_by_the_way_asks_for_less_memory(Precision precision)
    {
        BenchTable table = KernelCountBench.Run("emulated", precision, "64→64 3×3 8² forward,64→64 3×3 8² inference,parts", "", new Deadline(double.PositiveInfinity));
        Assert.That(table.Rows.Select(row => row[1]), Has.None.StartsWith("wrong").And.None.StartsWith("not"));
        foreach ((string fused, string separate) in ((string, string)[])[
            ("64→64 3×3 8² forward, statistics by the way", "64→64 3×3 8² forward, then statistics"),
            ("64→64 3×3 8² inference, normalised by the way", "64→64 3×3 8² inference, then normalised"),
            ("SGD, momentum, L1 and noise, gradient in 4 parts", "SGD, momentum, L1 and noise, 4 parts added before")])
        {
            Assert.That(Moved(table, fused), Is.LessThan(Moved(table, separate)), fused);
        }

        static long Moved(BenchTable table, string name)
        {
            IReadOnlyList<string> row = table.Rows.Single(one => one[0] == name);
            return long.Parse(row[4], System.Globalization.CultureInfo.InvariantCulture) + long.Parse(row[5], System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    [Test]
    public void What_a_precision_does_not_do_by_the_way_is_not_supported()
    {
        BenchTable table = KernelCountBench.Run("emulated", Precision.Fp32, "37→37 3×3 8² forward,", "", new Deadline(double.PositiveInfinity));
        Assert.That(table.Rows.Single(row => row[0].EndsWith("by the way", StringComparison.Ordinal))[1], Does.StartWith("not supported: in fp32"));
    }

    [Test]
    public void Warpgroups_are_compared_with_warps_and_their_products_and_copies_counted()
    {
        MemoryTraffic traffic = new();
        using CudaDevice warps = KernelCountBench.Open("emulated:sm_90a", Precision.Bf16, traffic, warpgroups: false);
        using CudaDevice warpgroups = KernelCountBench.Open("emulated:sm_90a", Precision.Bf16, traffic, warpgroups: true);
        BenchTable table = WarpgroupBench.Run(warps, warpgroups, 2, "resnet18 64→64,resnet50 64→64 1×1", traffic, Options);
        Assert.That(
            table.Rows.Select(row => row[0]),
            Is.EqualTo((string[])[
                "resnet18 64→64 3×3 8² forward", "resnet18 64→64 3×3 8² data gradient", "resnet50 64→64 1×1 8² forward", "resnet50 64→64 1×1 8² data gradient"]), "no filter gradients");
        Assert.That(table.Rows[0].Skip(5).Take(2), Has.All.EqualTo("4718592"), "2·8·8 pixels × 64 × 64 channels × 9 taps, in both");

        // One image of 8·8 pixels and 64 channels in one tile: image and filter are read once, the result written once, and what the tile has beyond them is no traffic.
        Assert.That(table.Rows[2][4], Is.EqualTo($"{(2 * 8 * 8 * 64 + 64 * 64) * sizeof(ushort)}"));
        Assert.That(warps.Memory.LiveBytes + warpgroups.Memory.LiveBytes, Is.Zero);
    }

    [Test]
    public void Without_products_of_warpgroups_there_is_nothing_to_compare()
    {
        using CudaDevice device = Open();
        Assert.That(
            () => WarpgroupBench.Run(device, device, 2, null, new MemoryTraffic(), Options),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("9.0").And.Message.Contains("--device emulated:sm_90a"));
    }
}
