using System.Runtime.InteropServices;
using System.Text.Json;
using NUnit.Framework;
using Saturn.Kernels;
using Saturn.Kernels.Cpu;
using Saturn.Kernels.Diagnostics;
using Saturn.Kernels.Families;

namespace Saturn.Tests.Kernels;

/// <summary>
/// The observer around a device: what the second run of a kernel finds and lets pass, the table and the timeline. That every call arrives unchanged is what the tests show that run on "cpu observed".
/// </summary>
public sealed class ObservedDeviceTests
{
    private CpuDevice device = null!;
    private DeviceBuffer left;
    private DeviceBuffer right;
    private DeviceBuffer output;

    [SetUp]
    public void Open()
    {
        device = new CpuDevice(2);
        left = Upload(1, 2, 3, 4, 5, 6, 7, 8);
        right = Upload(10, 20, 30, 40, 50, 60, 70, 80);
        output = Upload(0, 0, 0, 0, 0, 0, 0, 0);
    }

    [TearDown]
    public void Close() => device.Dispose();

    [TestCase("elementwise.Add", 0f, true)]
    [TestCase("elementwise.Add", 1e-6f, false)]
    [TestCase("matrix.Multiply", 1e-6f, true)]
    [TestCase("matrix.Multiply", 1e-3f, false)]
    [TestCase("matrix.Multiply", float.NaN, false)]
    [TestCase("convolution.Forward", float.PositiveInfinity, false)]
    public void A_wrong_result_is_found_beyond_what_rounding_explains(string name, float relativeError, bool passes)
    {
        KernelCall call = new(name, "[8]", 0, [left, right], [output]);
        using ShadowRun shadow = new(device, 1e-4);
        shadow.Prepare(call);
        Add(device, buffer => buffer);
        float largest = Values(output)[7];
        Put(output, 7, largest + largest * relativeError);
        if (passes)
        {
            shadow.Compare(call, Add);
        }
        else
        {
            Assert.That(() => shadow.Compare(call, Add), Throws.TypeOf<KernelMismatchException>().With.Message.Contains($"{name} on cpu").And.Message.Contains("element 7 with"));
        }
    }

    [Test]
    public void Integers_and_bits_must_agree_on_any_device()
    {
        KernelCall call = new("matrix.Multiply", "[8]", 0, [left, right], [new(output, ElementKind.Integer)]);
        using ShadowRun shadow = new(device, 0.5);
        shadow.Prepare(call);
        Add(device, buffer => buffer);
        Put(output, 0, MathF.BitIncrement(Values(output)[0]));
        Assert.That(() => shadow.Compare(call, Add), Throws.TypeOf<KernelMismatchException>().With.Message.Contains("1 of 8 elements"));
    }

    [Test]
    public void A_small_result_is_measured_by_the_largest_of_the_call_where_sums_cancel([Values] bool shared)
    {
        DeviceBuffer noise = Upload(1e-7f, 0, 0, 0, 0, 0, 0, 0);
        KernelCall call = new("convolution.FilterGradient", "[8]", 0, [left, right], [output, noise], shared);
        using ShadowRun shadow = new(device, 1e-4);
        shadow.Prepare(call);
        Add(device, buffer => buffer);
        Put(noise, 0, 2e-7f);
        Assert.That(() => shadow.Compare(call, Add), shared ? Throws.Nothing : Throws.TypeOf<KernelMismatchException>().With.Message.Contains("output 2 of 2"));
    }

    [Test]
    public void A_kernel_that_writes_outside_of_its_buffer_is_found([Values(-4, 4)] int offset)
    {
        KernelCall call = new("elementwise.Fill", "[8]", 0, [], [output]);
        using ShadowRun shadow = new(device, 1e-4);
        shadow.Prepare(call);
        device.Clear(output);
        Assert.That(
            () => shadow.Compare(call, (second, at) =>
            {
                second.Clear(at(output));
                second.Clear(new DeviceBuffer(at(output).Address + offset, output.ByteLength));
            }),
            Throws.TypeOf<KernelMismatchException>().With.Message.Contains("outside of a buffer of 32 bytes"));
    }

    [Test]
    public void Buffers_that_overlap_stay_one_in_the_second_run()
    {
        // The output lies in the second half of the left operand, which the kernel reads as well.
        DeviceBuffer half = left.Slice(16, 16);
        KernelCall call = new("elementwise.Accumulate", "[4]", 0, [left.Slice(0, 16), half, left], [half]);
        using ShadowRun shadow = new(device, 1e-4);
        shadow.Prepare(call);
        Body(device, buffer => buffer);
        shadow.Compare(call, Body);
        Assert.That(Values(left), Is.EqualTo(new float[] { 1, 2, 3, 4, 6, 8, 10, 12 }));

        void Body(Device any, Func<DeviceBuffer, DeviceBuffer> at) => any.Elementwise.Accumulate(new Shape(4), at(left).Slice(0, 16), at(half));
    }

    [Test]
    public void The_timeline_holds_every_call_and_appears_when_it_is_whole()
    {
        string folder = Directory.CreateTempSubdirectory("saturn-trace-").FullName;
        try
        {
            string path = Path.Combine(folder, "trace.json");
            using (ObservedDevice observed = new(new CpuDevice(1), new Observation(TraceFile: path)))
            {
                DeviceBuffer buffer = observed.Memory.Allocate(4000 * sizeof(float));
                observed.Elementwise.Fill(new Shape(10, 400), buffer, 1);
                observed.Elementwise.Unary(UnaryOperation.Exponential, new Shape(10, 400), buffer, buffer);
                observed.Clear(buffer);
                observed.Memory.Free(buffer);
                Assert.That(File.Exists(path), Is.False);
            }

            using JsonDocument trace = JsonDocument.Parse(File.ReadAllText(path));
            JsonElement[] spans = [.. trace.RootElement.GetProperty("traceEvents").EnumerateArray().Where(span => span.GetProperty("ph").GetString() == "X")];
            Assert.That(spans.Select(span => span.GetProperty("name").GetString()), Is.EqualTo(new[] { "elementwise.Fill", "elementwise.Exponential", "copy.Clear" }));
            Assert.That(spans[1].GetProperty("args").GetProperty("sizes").GetString(), Is.EqualTo("[10, 400]"));
            for (int i = 1; i < spans.Length; i++)
            {
                Assert.That(spans[i].GetProperty("ts").GetDouble(), Is.GreaterThanOrEqualTo(spans[i - 1].GetProperty("ts").GetDouble() + spans[i - 1].GetProperty("dur").GetDouble() - 0.01));
            }

            Assert.That(Directory.GetFiles(folder), Has.Length.EqualTo(1));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void The_table_adds_up_calls_bytes_and_operations()
    {
        KernelTable table = new();
        table.Add("matrix.Multiply", 1000, 2e6, TimeSpan.FromMicroseconds(100));
        table.Add("matrix.Multiply", 3000, 2e6, TimeSpan.FromMicroseconds(300));
        table.Add("copy.Clear", 100, 0, TimeSpan.FromMicroseconds(100));
        string[] lines = table.ToText(device).Split('\n');
        Assert.That(lines[2], Does.Match(@"^matrix\.Multiply +2 +80\.0 % +200\.0 µs +0\.01 GB/s +10\.0 GFLOP/s$"));
        Assert.That(lines[3], Does.Match(@"^copy\.Clear +1 +20\.0 % +100\.0 µs +0\.00 GB/s +- GFLOP/s$"));
    }

    private void Add(Device any, Func<DeviceBuffer, DeviceBuffer> at) =>
        any.Elementwise.Binary(BinaryOperation.Add, new Shape(8), at(left), new Shape(8), at(right), new Shape(8), at(output));

    private DeviceBuffer Upload(params ReadOnlySpan<float> values)
    {
        DeviceBuffer buffer = device.Memory.Allocate(values.Length * sizeof(float));
        device.Upload(MemoryMarshal.AsBytes(values), buffer);
        return buffer;
    }

    private float[] Values(DeviceBuffer buffer)
    {
        float[] values = new float[buffer.ByteLength / sizeof(float)];
        device.Download(buffer, MemoryMarshal.AsBytes(values.AsSpan()));
        return values;
    }

    private void Put(DeviceBuffer buffer, int index, float value) => device.Upload(MemoryMarshal.AsBytes([value]), buffer.Slice(index * sizeof(float), sizeof(float)));
}
