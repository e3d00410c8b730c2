using System.Globalization;
using System.Text;

namespace Saturn.Kernels.Diagnostics;

/// <summary>
/// A variable of the process's environment that Saturn reads. Every one of them is declared here; docs/environment.md and the command's help are made from these declarations.
/// </summary>
/// <param name="Name">The variable's name.</param>
/// <param name="Values">What it may hold.</param>
/// <param name="Default">What holds where it is not set.</param>
/// <param name="Meaning">What it does.</param>
public sealed record EnvironmentVariable(string Name, string Values, string Default, string Meaning)
{
    /// <summary>The device that runs what names none.</summary>
    public static EnvironmentVariable Device { get; } = new(
        "SATURN_DEVICE", "a device's name, such as `cpu`", "`cpu`", "Where `saturn` runs when `--device` is not given. A resumed run stays on the device of its config.json.");

    /// <summary>How much is told.</summary>
    public static EnvironmentVariable Debug { get; } = new(
        "SATURN_DEBUG", "`0` to `5`", "`0`",
        "What is printed on standard error; each level adds to the one before. "
        + "`1`: devices as they are opened, compilations, steps recorded as graphs, and where in Saturn an error arose. `2`: a table of the kernels at the end: calls, µs, GB/s, GFLOP/s. "
        + "`3`: a line for each kernel call with its sizes and, on a GPU, the launch. `4`: the source of the GPU kernels as they are loaded. `5`: their PTX, or the resources of their machine code. From `2` on the device is waited for after each kernel.");

    /// <summary>Waiting after every kernel.</summary>
    public static EnvironmentVariable Sync { get; } = new(
        "SATURN_SYNC", "`1`", "not set", "Waits for the device after each kernel, so that a fault shows at the kernel that caused it and not at a later one.");

    /// <summary>Every kernel twice.</summary>
    public static EnvironmentVariable Validate { get; } = new(
        "SATURN_VALIDATE", "`1`, or a tolerance below 1", "not set",
        "Runs each kernel a second time on the CPU, on copies of its buffers between guard zones, and stops at the first call whose results differ: by more than the tolerance (`1` means 1e-4, and 3e-3 with `--precision tf32`, whose products are rounded) of the largest entry "
        + "for floating-point results, at all for integers and bits. On the CPU itself the second run has one worker and, in convolutions and matrix products, tiles of the other vector width; all other kernels must then agree bit for bit. It does not go with `--precision bf16`, which the CPU does not have. "
        + "That finds races, reads and writes outside of buffers, and faults of one width; it cannot find a formula that is wrong in both runs, which is what the tests' double-precision references are for.");

    /// <summary>Who holds memory.</summary>
    public static EnvironmentVariable Leaks { get; } = new(
        "SATURN_LEAKS", "`1`", "not set", "Records where every tensor's memory was allocated; `saturn` lists at its end what is still alive, and a test that leaves memory behind says where it came from. Slow.");

    /// <summary>A timeline.</summary>
    public static EnvironmentVariable Trace { get; } = new(
        "SATURN_TRACE", "a file's name", "not set",
        "Writes a timeline of kernels and copies, for ui.perfetto.dev or chrome://tracing; a second device of the same process adds its number to the name. The file appears when the device is closed. The device is waited for after each kernel.");

    /// <summary>Where compiled kernels are kept.</summary>
    public static EnvironmentVariable CacheDirectory { get; } = new(
        "SATURN_CACHE_DIR", "a folder, or `off`", "the user's cache folder", "Where compiled kernels are kept from one run to the next; `off` keeps none.");

    /// <summary>Where kernels' sources and machine code are written.</summary>
    public static EnvironmentVariable Dump { get; } = new(
        "SATURN_DUMP", "a folder", "not set", "Writes the source with its layout checks, the PTX or machine code, and the compiler's log of each file of GPU kernels that is loaded into this folder.");

    /// <summary>The kernel compiler's library.</summary>
    public static EnvironmentVariable Nvrtc { get; } = new(
        "SATURN_NVRTC", "a library or its folder", "searched for", "NVIDIA's run-time compiler for GPU kernels (NVRTC 11.8, 12 or 13); `tools/install-nvrtc.sh` installs one.");

    /// <summary>The program that prints machine code.</summary>
    public static EnvironmentVariable Nvdisasm { get; } = new(
        "SATURN_NVDISASM", "a program or its folder", "searched for",
        "nvdisasm, the disassembler of the CUDA toolkit, which `saturn kernels` and tests of machine code need; `tools/install-nvrtc.sh --disassembler` installs one.");

    /// <summary>The driver's library.</summary>
    public static EnvironmentVariable CudaDriver { get; } = new("SATURN_CUDA_DRIVER", "a library", "searched for", "The CUDA driver's library.");

    /// <summary>The matrix library.</summary>
    public static EnvironmentVariable Cublas { get; } = new(
        "SATURN_CUBLAS", "a library or its folder, or `off`", "searched for",
        "NVIDIA's cuBLAS (11, 12 or 13), which large plain matrix products on a GPU take where it is found; `off` leaves them to Saturn's own kernels. With another library, or none, sums are added in another order.");

    /// <summary>Convolutions by warpgroups.</summary>
    public static EnvironmentVariable Wgmma { get; } = new(
        "SATURN_WGMMA", "`1`", "not set",
        "On devices of compute capability 9.0 and under `--precision bf16`, runs convolutions of one group, and data gradients with stride 1, by bulk copies and products of warpgroups "
        + "(`kernels/convolution_wgmma.cu`) instead of `mma.sync`. Tested on the emulator only, and not measured on hardware.");

    /// <summary>The interpreter of side-by-side measurements.</summary>
    public static EnvironmentVariable PeerPython { get; } = new(
        "SATURN_PEER_PYTHON", "a Python interpreter", "`/usr/bin/python3`", "The interpreter with PyTorch that `saturn bench` measures beside Saturn; `tools/install-peers.sh` installs one.");

    /// <summary>Real data for tests.</summary>
    public static EnvironmentVariable Data { get; } = new("SATURN_DATA", "a folder", "not set", "Tests only: a folder with real data in `mnist/`; the tests that read them are skipped without it.");

    /// <summary>The devices of the test matrix.</summary>
    public static EnvironmentVariable TestDevices { get; } = new(
        "SATURN_TEST_DEVICES", "names, separated by commas", "`cpu`, `emulated`, and `cuda:0` where there is a GPU", "Tests only: the devices that the test matrix runs on.");

    /// <summary>Whether tests may do without the kernel compiler.</summary>
    public static EnvironmentVariable RequireNvrtc { get; } = new(
        "SATURN_REQUIRE_NVRTC", "`1`", "not set", "Tests only: the tests that compile kernels fail where NVRTC is missing, instead of being skipped.");

    /// <summary>All variables, in the order of the documentation.</summary>
    public static IReadOnlyList<EnvironmentVariable> All { get; } =
        [Device, Debug, Sync, Validate, Leaks, Trace, CacheDirectory, Dump, Nvrtc, Nvdisasm, CudaDriver, Cublas, Wgmma, PeerPython, Data, TestDevices, RequireNvrtc];

    /// <summary>The text it holds; null where it is not set or empty.</summary>
    public string? Value => Environment.GetEnvironmentVariable(Name) is { Length: > 0 } value ? value : null;

    /// <summary>Whether it holds anything but 0.</summary>
    public bool IsOn => Value is not (null or "0");

    /// <summary>The number it holds.</summary>
    /// <param name="low">The smallest that is allowed.</param>
    /// <param name="high">The largest that is allowed.</param>
    /// <returns>The number; 0 where the variable is not set.</returns>
    /// <exception cref="ArgumentException">It holds something else.</exception>
    public double Number(double low, double high) =>
        Value is not { } text ? 0
        : double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number >= low && number <= high ? number
        : throw new ArgumentException(string.Create(CultureInfo.InvariantCulture, $"{Name} must be a number from {low} to {high}, but is '{text}'."));

    /// <summary>The page docs/environment.md.</summary>
    public static string ToMarkdown()
    {
        StringBuilder page = new();
        page.Append("# Environment variables\n\nThis page is made by `saturn info --environment`; the text stands in `Saturn.Kernels/Diagnostics/EnvironmentVariable.cs`.\n\n");
        page.Append("| variable | values | default | meaning |\n|---|---|---|---|\n");
        foreach (EnvironmentVariable variable in All)
        {
            page.Append($"| `{variable.Name}` | {variable.Values} | {variable.Default} | {variable.Meaning} |\n");
        }

        return page.ToString();
    }
}
