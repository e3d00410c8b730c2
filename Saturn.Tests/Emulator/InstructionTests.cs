using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>
/// Every instruction that the emulator covers, alone, with literal inputs and outputs: the same module runs on the emulator and, where there is one, on a real GPU,
/// which is what makes the emulator trustworthy.
/// </summary>
[TestFixtureSource(nameof(Drivers))]
public sealed class InstructionTests(string driverName) : InstructionTest(driverName)
{
    private static IEnumerable<string> Drivers => TestDevices.Names.Where(name => name.StartsWith("cuda", StringComparison.Ordinal)).Prepend("emulated");

    private static IEnumerable<InstructionCase> Cases => InstructionCase.ReadAll(Folder);

    [TestCaseSource(nameof(Cases))]
    public void An_instruction_gives_what_the_manual_says(InstructionCase @case) => Check(@case, ("7.0", "sm_80"));
}

/// <summary>The same of the instructions that exist on compute capability 9.0 alone.</summary>
[TestFixtureSource(typeof(TestDevices), nameof(TestDevices.HopperNames))]
public sealed class HopperInstructionTests(string driverName) : InstructionTest(driverName)
{
    private static IEnumerable<InstructionCase> Cases => InstructionCase.ReadAll(Path.Combine(Folder, "Hopper"));

    [TestCaseSource(nameof(Cases))]
    public void An_instruction_gives_what_the_manual_says(InstructionCase @case) => Check(@case, ("8.0", "sm_90a"));
}

/// <summary>Runs instruction cases on a driver.</summary>
public abstract unsafe class InstructionTest(string driverName)
{
    private ICudaDriver driver = null!;
    private nint context;
    private nint stream;

    protected static string Folder { get; } = Path.Combine(AppContext.BaseDirectory, "Emulator", "Instructions");

    [OneTimeSetUp]
    public void Open()
    {
        driver = driverName switch
        {
            "emulated" => new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 1)),
            "emulated:sm_90a" => new EmulatedDriver(new EmulatorOptions(Checked: true, Workers: 1, Architecture: EmulatedArchitecture.Hopper)),
            _ => LibCudaDriver.Open(),
        };
        context = driver.RetainPrimaryContext(0);
        driver.SetCurrentContext(context);
        stream = driver.CreateStream();
    }

    [OneTimeTearDown]
    public void Close()
    {
        driver.DestroyStream(stream);
        driver.ReleasePrimaryContext(0);
        driver.Dispose();
    }

    protected void Check(InstructionCase @case, (string Version, string Architecture) target)
    {
        driver.SetCurrentContext(context);
        nint module = driver.LoadModule(System.Text.Encoding.ASCII.GetBytes(@case.ToPtx(target) + "\0"), @case.Name);
        List<nint> arrays = [];
        foreach (InstructionCase.Value input in @case.Inputs)
        {
            byte[] bytes = new byte[@case.Threads * input.Bytes];
            for (int lane = 0; lane < @case.Threads; lane++)
            {
                BitConverter.GetBytes(InstructionCase.Bits(input.Literal(lane), input.Type)).AsSpan(0, input.Bytes).CopyTo(bytes.AsSpan(lane * input.Bytes));
            }

            arrays.Add(driver.Allocate(bytes.Length));
            fixed (byte* pointer = bytes)
            {
                driver.CopyToDeviceAsync(arrays[^1], pointer, bytes.Length, stream);
                driver.SynchronizeStream(stream);
            }
        }

        foreach (InstructionCase.Value output in @case.Outputs)
        {
            arrays.Add(driver.Allocate(@case.Threads * output.Bytes));
        }

        nint[] arguments = [.. arrays];
        fixed (nint* pointer = arguments)
        {
            driver.Launch(driver.GetFunction(module, "instruction"), LaunchGeometry.Linear(1, @case.Threads), pointer, (nuint)(arguments.Length * sizeof(nint)), stream);
        }

        driver.SynchronizeStream(stream);
        Assert.Multiple(() =>
        {
            for (int i = 0; i < @case.Outputs.Count; i++)
            {
                Compare(@case, @case.Outputs[i], arrays[@case.Inputs.Count + i]);
            }
        });
        driver.UnloadModule(module);
        arrays.ForEach(driver.Free);
    }

    private void Compare(InstructionCase @case, InstructionCase.Value output, nint address)
    {
        byte[] bytes = new byte[@case.Threads * output.Bytes];
        fixed (byte* pointer = bytes)
        {
            driver.CopyToHostAsync(pointer, address, bytes.Length, stream);
            driver.SynchronizeStream(stream);
        }

        for (int lane = 0; lane < @case.Threads; lane++)
        {
            ulong actual = output.Bytes == 8 ? BitConverter.ToUInt64(bytes, lane * 8) : BitConverter.ToUInt32(bytes, lane * 4);
            ulong expected = InstructionCase.Bits(output.Literal(lane), output.Type);
            string what = $"{output.Name}, lane {lane}: expected {output.Literal(lane)} (0x{expected:x}), came 0x{actual:x}";
            if (output.Type is "f32" or "f64" && (output.Tolerance > 0 || output.Literal(lane) == "nan"))
            {
                double wanted = output.Type == "f32" ? BitConverter.UInt32BitsToSingle((uint)expected) : BitConverter.UInt64BitsToDouble(expected);
                double came = output.Type == "f32" ? BitConverter.UInt32BitsToSingle((uint)actual) : BitConverter.UInt64BitsToDouble(actual);
                bool close = wanted.Equals(came) || Math.Abs(came - wanted) <= output.Tolerance * Math.Abs(wanted);
                Assert.That(close, Is.True, $"{what} = {came:R}");
            }
            else
            {
                Assert.That(actual, Is.EqualTo(output.Type == "pred" ? expected & 1 : output.Bytes == 4 ? (uint)expected : expected), what);
            }
        }
    }
}
