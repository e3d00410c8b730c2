using System.Globalization;

namespace Saturn.Kernels.Cuda.Compilation;

/// <summary>What a kernel is compiled to: machine code for one architecture (<c>sm_90a</c>), or PTX (<c>compute_80</c>), which the emulator and newer drivers read.</summary>
/// <param name="Architecture">NVRTC's name of it.</param>
public readonly record struct KernelTarget(string Architecture)
{
    private const string PtxPrefix = "compute_";
    private const string MachineCodePrefix = "sm_";

    /// <summary>Whether the image is PTX, text, rather than machine code.</summary>
    public bool IsPtx => Architecture.StartsWith(PtxPrefix, StringComparison.Ordinal);

    /// <summary>The compute capability as NVRTC counts, 80 for 8.0.</summary>
    /// <exception cref="ArgumentException">The name has another form.</exception>
    internal int Capability
    {
        get
        {
            string number = Architecture is null ? "" : IsPtx ? Architecture[PtxPrefix.Length..] : Architecture.StartsWith(MachineCodePrefix, StringComparison.Ordinal) ? Architecture[MachineCodePrefix.Length..] : "";
            if (number.Length > 0 && number[^1] is 'a' or 'f')
            {
                number = number[..^1];
            }

            return int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int capability)
                ? capability
                : throw new ArgumentException($"'{Architecture}' names no target: expected machine code such as sm_80 or sm_90a, or PTX such as compute_80.");
        }
    }

    /// <inheritdoc/>
    public override string ToString() => Architecture;
}
