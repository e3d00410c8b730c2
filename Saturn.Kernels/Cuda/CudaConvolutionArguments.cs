using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;

namespace Saturn.Kernels.Cuda;

/// <summary>Arguments of the forward pass and the data gradient on tiles: see <c>kernels/convolution.cu</c>.</summary>
[KernelArguments("convolution.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct ConvolutionArguments
{
    public nint Source;
    public nint Weight;
    public nint Bias;
    public nint Output;
    public nint Residual;
    public nint Map;
    public int Batch;
    public int SourceHeight;
    public int SourceWidth;
    public int SourcePitch;
    public int SourceChannels;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputPitch;
    public int OutputChannels;
    public int Groups;
    public int KernelHeight;
    public int KernelWidth;
    public int WeightPitch;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int ColumnTiles;
    public int Accumulate;
    public int ResidualPitch;
}

/// <summary>Arguments of the filter gradient on tiles: see <c>kernels/convolution_filter.cu</c>.</summary>
[KernelArguments("convolution_filter.cu")]
[KernelArguments("convolution_filter_tensor.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct FilterGradientArguments
{
    public nint Input;
    public nint OutputGradient;
    public nint Partials;
    public int InputHeight;
    public int InputWidth;
    public int InputPitch;
    public int InputChannels;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputPitch;
    public int OutputChannels;
    public int Groups;
    public int KernelHeight;
    public int KernelWidth;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int Depth;
    public int Pixels;
    public int PixelsPerSplit;
    public int ColumnTiles;
}

/// <summary>Arguments of the sum of a filter gradient's parts: see <c>kernels/convolution_filter.cu</c>.</summary>
[KernelArguments("convolution_filter.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CombineFilterArguments
{
    public nint Partials;
    public nint WeightGradient;
    public long SplitFloats;
    public int Splits;
    public int Rows;
    public int Channels;
    public int PartialPitch;
    public int WeightPitch;
    public int Accumulate;
}

/// <summary>Arguments of the bias gradient's partial sums: see <c>kernels/convolution_filter.cu</c>.</summary>
[KernelArguments("convolution_filter.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct BiasGradientArguments
{
    public nint OutputGradient;
    public nint Partials;
    public int Rows;
    public int RowsPerSlab;
    public int Pitch;
}

/// <summary>Arguments of the sum of a bias gradient's parts: see <c>kernels/convolution_filter.cu</c>.</summary>
[KernelArguments("convolution_filter.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CombineBiasArguments
{
    public nint Partials;
    public nint BiasGradient;
    public int Slabs;
    public int Channels;
    public int Pitch;
    public int Accumulate;
}

/// <summary>Arguments of the forward pass and the data gradient of narrow groups: see <c>kernels/convolution_grouped.cu</c>.</summary>
[KernelArguments("convolution_grouped.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct GroupedConvolutionArguments
{
    public nint Input;
    public nint Weight;
    public nint Bias;
    public nint Output;
    public nint Residual;
    public nint Map;
    public int InputHeight;
    public int InputWidth;
    public int InputChannels;
    public int InputPitch;
    public int GroupInputs;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputChannels;
    public int OutputPitch;
    public int GroupOutputs;
    public int KernelHeight;
    public int KernelWidth;
    public int WeightPitch;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int Pixels;
    public int PixelsPerSlab;
    public int Accumulate;
    public int ResidualPitch;
}

/// <summary>Arguments of the filter gradient of narrow groups: see <c>kernels/convolution_grouped.cu</c>.</summary>
[KernelArguments("convolution_grouped.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct GroupedFilterArguments
{
    public nint Input;
    public nint OutputGradient;
    public nint Partials;
    public int InputHeight;
    public int InputWidth;
    public int InputPitch;
    public int GroupInputs;
    public int OutputHeight;
    public int OutputWidth;
    public int OutputChannels;
    public int OutputPitch;
    public int GroupOutputs;
    public int KernelWidth;
    public int StrideHeight;
    public int StrideWidth;
    public int PaddingHeight;
    public int PaddingWidth;
    public int DilationHeight;
    public int DilationWidth;
    public int Elements;
    public int Pixels;
    public int PixelsPerSlab;
}
